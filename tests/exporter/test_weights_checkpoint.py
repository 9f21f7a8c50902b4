import json
import os
import re
import shutil

import pytest
import torch
from onnx_ir.tensor_adapters import to_torch_dtype
from safetensors.torch import load_file, save_file

from exporter.errors import CheckpointError
from exporter.source import load_source
from exporter.weights.blueprint import Blueprint
from exporter.weights.checkpoint import Checkpoint, natural_dtype, validate
from exporter.weights.header import DTYPES, read_header
from exporter.weights.unet import build_from_config, build_unet, load_unet

NAME = "diffusion_pytorch_model.safetensors"


@pytest.fixture
def folder(tiny_pipeline, tmp_path):
    """A copy of the tiny UNet's folder, to be damaged."""
    return shutil.copytree(tiny_pipeline / "unet", tmp_path / "unet")


def rewrite(folder, change):
    """Saves the checkpoint again after ``change(state)``."""
    state = load_file(folder / NAME)
    change(state)
    save_file(state, folder / NAME)


def one_tensor(path, entry, data=bytes(8), header_length=None):
    """Writes a hand-made file with one tensor ``x`` (or the given JSON text)."""
    text = entry if isinstance(entry, bytes) else json.dumps({"x": entry}).encode()
    length = len(text) if header_length is None else header_length
    path.write_bytes(length.to_bytes(8, "little") + text + data)
    return path


def entry(dtype="F32", shape=(2,), offsets=(0, 8)):
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


def test_reads_what_safetensors_wrote(folder):
    checkpoint = Checkpoint.open(folder / NAME)
    expected = load_file(folder / NAME)
    assert checkpoint.tensors.keys() == expected.keys()
    for name, tensor in expected.items():
        assert torch.equal(checkpoint.read(name), tensor)
        assert torch.equal(checkpoint.map(name), tensor)


@pytest.mark.parametrize("dtype", sorted(map(to_torch_dtype, set(DTYPES.values())), key=str))
def test_every_dtype_round_trips(tmp_path, dtype):
    stored = {"a": torch.tensor([0, 1, 1]).to(dtype), "scalar": torch.ones((), dtype=dtype)}
    stored["empty"] = torch.zeros((0, 3), dtype=dtype)
    save_file(stored, tmp_path / "x.safetensors")
    checkpoint = Checkpoint.open(tmp_path / "x.safetensors")
    for name, tensor in stored.items():
        for got in (checkpoint.read(name), checkpoint.map(name)):
            assert (got.dtype, got.shape) == (dtype, tensor.shape)
            assert torch.equal(got.to(torch.float64), tensor.to(torch.float64))


def test_unaligned_data_is_read(tmp_path):
    file = one_tensor(tmp_path / "x", entry(), data=torch.ones(2).numpy().tobytes())
    assert Checkpoint.open(file).tensors["x"].offset % 4
    assert torch.equal(Checkpoint.open(file).map("x"), torch.ones(2))


@pytest.mark.parametrize(
    ("made", "told"),
    [
        ({"entry": entry(), "data": bytes(7)}, "x: its data ends at byte"),
        ({"entry": entry(), "data": bytes(9)}, "its tensors end at byte"),
        ({"entry": entry(), "header_length": 1 << 40}, "its header claims"),
        ({"entry": entry(), "header_length": 20}, "is not JSON"),
        ({"entry": b"[" * 20_000}, "is not JSON"),
        ({"entry": b"\xff{}"}, "is not JSON"),
        ({"entry": b"[1]"}, "not a JSON object"),
        ({"entry": b'{"x": 1, "x": 2}'}, "given twice"),
        ({"entry": 7}, "x: its entry lacks"),
        ({"entry": {"dtype": "F32"}}, "x: its entry lacks"),
        ({"entry": entry(offsets=(0,))}, "x: its entry lacks"),
        ({"entry": entry(dtype="F33")}, "x: unknown dtype 'F33'"),
        ({"entry": entry(dtype=["F32"])}, "x: unknown dtype"),
        ({"entry": entry(shape=(3,))}, "x: F32 \\[3\\] takes 12 bytes"),
        ({"entry": entry(shape=(-2,))}, "x: .*natural numbers"),
        ({"entry": entry(shape=(True, 2))}, "x: .*natural numbers"),
        ({"entry": entry(shape=(1e400,))}, "x: .*natural numbers"),
        ({"entry": entry(offsets=(8, 0))}, "x: F32"),
        ({"entry": entry(offsets=(1 << 70, (1 << 70) + 8))}, "x: its data leaves a hole"),
    ],
)
def test_lying_file_is_named(tmp_path, made, told):
    file = one_tensor(tmp_path / "lie.safetensors", **made)
    with pytest.raises(CheckpointError, match=told) as caught:
        read_header(file)
    assert "lie.safetensors" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_overlapping_tensors_are_named(tmp_path):
    both = json.dumps({"a": entry(), "b": entry(offsets=(4, 12))}).encode()
    file = one_tensor(tmp_path / "x", both, data=bytes(12))
    with pytest.raises(CheckpointError, match="b: its data overlaps"):
        read_header(file)


@pytest.mark.parametrize("kept", [0, 7, 8, 500, -1])
def test_truncated_file_is_refused_wherever_it_ends(folder, kept):
    whole = (folder / NAME).read_bytes()
    (folder / NAME).write_bytes(whole[:kept])
    with pytest.raises(CheckpointError, match=NAME):
        load_source(str(folder))


def test_file_that_shrinks_later_is_named(folder):
    checkpoint = Checkpoint.open(folder / NAME)
    last = max(checkpoint.tensors.values(), key=lambda spec: spec.offset)
    os.truncate(folder / NAME, last.offset + 1)
    with pytest.raises(CheckpointError, match=re.escape(last.name)):
        checkpoint.read(last.name)


def test_missing_tensor_is_named(folder):
    rewrite(folder, lambda state: state.pop("mid_block.resnets.0.conv1.weight"))
    with pytest.raises(
        CheckpointError, match=r"1 missing: mid_block\.resnets\.0\.conv1\.weight"
    ):
        load_source(str(folder))


def test_extra_tensors_are_named(folder):
    rewrite(folder, lambda state: state.update({f"lora.{i}": torch.ones(1) for i in range(5)}))
    with pytest.raises(
        CheckpointError, match=r"5 extra: lora\.0, lora\.1, lora\.2 and 2 more"
    ):
        load_source(str(folder))


def test_wrong_shape_is_named(folder):
    rewrite(folder, lambda state: state.update({"conv_in.bias": torch.ones(7)}))
    with pytest.raises(CheckpointError, match=r"conv_in\.bias \[7\] instead of \[32\]"):
        load_source(str(folder))


def test_integers_in_place_of_floats_are_named(folder):
    rewrite(folder, lambda s: s.update({"conv_in.bias": torch.ones(32, dtype=torch.int8)}))
    with pytest.raises(CheckpointError, match=r"1 wrongly typed: conv_in\.bias int8"):
        load_source(str(folder))


def test_pickled_weights_say_how_to_convert(tmp_path, save_unet):
    save_unet(tmp_path, how={"safe_serialization": False})
    with pytest.raises(CheckpointError, match=r"\.bin.*save_pretrained"):
        load_source(str(tmp_path))


def test_folder_without_weights_says_so(folder):
    (folder / NAME).unlink()
    with pytest.raises(CheckpointError, match="holds no weights"):
        load_source(str(folder))


@pytest.fixture
def sharded(tmp_path, save_unet):
    return save_unet(tmp_path / "sharded", how={"max_shard_size": "2MB"})


def test_shards_are_one_checkpoint(sharded, tiny_pipeline):
    many, one = load_source(str(sharded)), load_source(str(tiny_pipeline))
    assert len(many.weights.files) > 1
    assert many.weights.tensors.keys() == one.weights.tensors.keys()
    for name in one.weights.tensors:
        assert torch.equal(many.weights.read(name), one.weights.read(name))


def test_absent_shard_is_named(sharded):
    shard = sorted(sharded.glob("*-00002-of-*"))[0]
    shard.unlink()
    with pytest.raises(CheckpointError, match=re.escape(shard.name)):
        load_source(str(sharded))


@pytest.mark.parametrize(
    ("index", "told"),
    [
        ("{", "is not an index"),
        ("[]", "is not an index"),
        ('{"weight_map": {"x": 3}}', "is not an index"),
        ('{"weight_map": {}}', "must name files beside it"),
        ('{"weight_map": {"x": "../secret.safetensors"}}', "must name files beside it"),
        ('{"weight_map": {"x": "diffusion_pytorch_model.safetensors"}}', "x is in .*lacks it"),
    ],
)
def test_lying_index_is_named(folder, index, told):
    file = folder / "diffusion_pytorch_model.safetensors.index.json"
    file.write_text(index)
    with pytest.raises(CheckpointError, match=told):
        Checkpoint.open(file)


def test_legacy_attention_names_are_understood(tmp_path, save_unet):
    changes = {
        "block_out_channels": [16, 32],
        "down_block_types": ["DownBlock2D", "AttnDownBlock2D"],
        "up_block_types": ["AttnUpBlock2D", "UpBlock2D"],
        "layers_per_block": 1,
        "norm_num_groups": 8,
    }
    save_unet(tmp_path, "ddpm", **changes)
    expected = load_file(tmp_path / NAME)
    old = {".to_q.": ".query.", ".to_k.": ".key.", ".to_v.": ".value."}
    old[".to_out.0."] = ".proj_attn."

    def age(state):
        for name in list(state):
            for new, legacy in old.items():
                if new in name:
                    state[name.replace(new, legacy)] = state.pop(name)

    rewrite(tmp_path, age)
    assert "mid_block.attentions.0.query.weight" in load_file(tmp_path / NAME)
    source = load_source(str(tmp_path))
    assert source.weights.tensors.keys() == expected.keys()
    for name, tensor in expected.items():
        assert torch.equal(source.weights.read(name), tensor)
        assert source.weights.tensors[name].name == name


def test_natural_dtype_is_the_one_most_bytes_have(tmp_path):
    def stored(big, small):
        save_file({"a": torch.ones(99).to(big), "b": torch.ones(1).to(small)}, tmp_path / "x")
        return natural_dtype(Checkpoint.open(tmp_path / "x"))

    assert stored(torch.float16, torch.float32) == "fp16"
    assert stored(torch.bfloat16, torch.float16) == "bf16"
    assert stored(torch.float32, torch.float16) == "fp32"
    assert stored(torch.float64, torch.float16) == "fp32"


def test_loaded_unet_computes_what_from_pretrained_does(tiny_pipeline, make_unet):
    ours = load_unet(load_source(str(tiny_pipeline)), torch.float32)
    theirs = make_unet()  # what the checkpoint was saved from
    sample, text = torch.ones(1, 4, 9, 8), torch.ones(1, 3, 48)
    time = torch.tensor(500.5)
    assert all(torch.equal(ours.state_dict()[k], v) for k, v in theirs.state_dict().items())
    # Kernels add in another order where mapped weights are aligned otherwise.
    torch.testing.assert_close(ours(sample, time, text)[0], theirs(sample, time, text)[0])
    assert not any(parameter.requires_grad for parameter in ours.parameters())


def test_loading_converts(tiny_pipeline):
    source = load_source(str(tiny_pipeline))
    half = load_unet(source, torch.bfloat16).state_dict()
    for name, tensor in half.items():
        assert torch.equal(tensor, source.weights.read(name).bfloat16())


def test_mapped_weights_are_private(folder):
    before = (folder / NAME).read_bytes()
    unet = load_unet(load_source(str(folder)), torch.float32)
    unet.conv_in.bias.zero_()
    assert (folder / NAME).read_bytes() == before


def test_computed_buffers_survive_an_empty_build(make_unet):
    """A kernel outside the state dict cannot come from a checkpoint."""
    changes = {
        "down_block_types": ["KDownBlock2D"] * 3,
        "mid_block_type": None,
        "up_block_types": ["KUpBlock2D"] * 3,
        "block_out_channels": [32, 32, 32],
    }
    reference = dict(make_unet(**changes).named_buffers())
    unet = build_from_config("UNet2DConditionModel", dict(make_unet(**changes).config))
    built = dict(unet.named_buffers())
    assert built.keys() == reference.keys() != set()
    assert all(torch.equal(built[name], reference[name]) for name in built)


def test_validate_accepts_its_own(tiny_pipeline):
    source = load_source(str(tiny_pipeline))
    validate(source.weights, Blueprint.of(build_unet(source)))
