"""LoRA as inputs: off exactly off, parity with weights fused by hand, and bad ones refused."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import onnx_ir as ir
import onnxruntime
import pytest
import torch
from safetensors.torch import load_file, save_file

from exporter import metadata as meta
from exporter.cli import main as export_main
from exporter.lora.cli import main
from exporter.parity.cases import ParityCase, cases_of
from exporter.parity.check import check
from exporter.parity.inputs import make_inputs
from exporter.parity.locate import locate
from exporter.parity.subject import Subject
from exporter.runtime.contract import read_contract
from exporter.runtime.session import Session, open_session
from exporter.source import load_source
from exporter.types import Source
from tests.exporter.conditions import loras
from tests.exporter.parity import edits

CASES = [ParityCase(1, 33, 35, 5, 981.0), ParityCase(2, 8, 9, 7, 20.5)]
TO_Q = "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q"


@dataclass(frozen=True)
class Files:
    """One UNet exported plain and with low-rank branches."""

    folder: Path
    source: Source
    sessions: dict[str, Session]

    def unet(self) -> Any:
        return diffusers.UNet2DConditionModel.from_pretrained(self.folder / "unet")

    def subject(self, which: str) -> Subject:
        source = read_contract(self.path(which)).conditioned(self.source)
        return Subject(source, "fp32", provider="cpu")

    def path(self, which: str) -> Path:
        return self.folder / f"{which}.onnx"

    def run(self, which: str, case: ParityCase, **more: torch.Tensor) -> np.ndarray:
        inputs = {**make_inputs(case, self.source, "fp32"), **more}
        return self.sessions[which].run(inputs)["out_sample"]

    def reference(self, case: ParityCase, *changes: Any) -> np.ndarray:
        unet = self.unet()
        loras.fuse(unet, *changes)
        with torch.no_grad():
            inputs = make_inputs(case, self.source, "fp32")
            return unet(**inputs, return_dict=False)[0].numpy()


@pytest.fixture(scope="module")
def files(workshop: Any, tmp_path_factory: pytest.TempPathFactory) -> Files:
    root = tmp_path_factory.mktemp("lora") / "micro"
    workshop.save_as(root / "unet", "micro")
    for which, lora in (("plain", None), ("transformers", "transformers"), ("all", "all")):
        workshop.export(root / f"{which}.onnx", root, lora=lora)
    names = ("plain", "transformers", "all")
    sessions = {name: open_session(root / f"{name}.onnx", "cpu") for name in names}
    return Files(root, load_source(str(root)), sessions)


@pytest.mark.parametrize("which", ["transformers", "all"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_off_is_the_plain_graph_bit_for_bit(
    files: Files, which: str, case: ParityCase
) -> None:
    plain = files.run("plain", case).tobytes()
    assert files.run(which, case).tobytes() == plain
    asked = make_inputs(
        ParityCase(**{**vars(case), "lora": 3}), files.subject(which).source, "fp32"
    )
    factors = {name: tensor for name, tensor in asked.items() if ".lora_" in name}
    assert files.run(which, case, **factors).tobytes() != plain
    off = {**factors, "lora_scale": torch.tensor(0.0)}
    assert files.run(which, case, **off).tobytes() == plain


@pytest.mark.parametrize("which", ["transformers", "all"])
def test_export_proves_the_branches_too(files: Files, which: str) -> None:
    subject = files.subject(which)
    case = cases_of(subject.source)[-1]
    assert case.lora == 3
    report = check(files.path(which), subject, cases=[case])
    assert report.passed, report.cases[0].verdict


def loaded(file: Path) -> dict[str, torch.Tensor]:
    return {name: tensor.float() for name, tensor in load_file(file).items()}


@pytest.mark.parametrize("named", [loras.peft, loras.older, loras.kohya])
@pytest.mark.parametrize(
    ("which", "within"), [("transformers", ["attentions"]), ("all", [""])]
)
def test_a_lora_equals_weights_fused_by_hand(files, tmp_path, named, which, within) -> None:
    style = tmp_path / "style.safetensors"
    change = loras.make(style, files.unet(), within=within, named=named, alpha=2.5)
    assert main([str(style), str(files.path(which))]) == 0
    factors = loaded(tmp_path / f"style.{which}.safetensors")
    for case in CASES:
        reference = files.reference(case, (change, 1.0))
        ours = files.run(which, case, **factors)
        assert np.abs(reference - files.run("plain", case)).max() > 1e-2
        assert np.abs(ours - reference).max() < 3e-6


def test_a_then_b_then_a_again_and_nothing_are_the_same_bits(files, tmp_path) -> None:
    plain = files.run("transformers", CASES[1])
    runs = []
    for seed in (1, 2, 1):
        style = tmp_path / "style.safetensors"
        loras.make(style, files.unet(), seed=seed)
        assert main([str(style), str(files.path("transformers"))]) == 0
        factors = loaded(tmp_path / "style.transformers.safetensors")
        runs.append(files.run("transformers", CASES[1], **factors).tobytes())
    assert runs[0] == runs[2] != runs[1]
    assert files.run("transformers", CASES[1]).tobytes() == plain.tobytes()


def test_two_blend_with_two_strengths(files, tmp_path) -> None:
    a, b = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    first = loras.make(a, files.unet(), seed=1, within=["attn1"], alpha=3.0)
    second = loras.make(b, files.unet(), seed=2, named=loras.kohya)
    blend = tmp_path / "blend.safetensors"
    wanted = [f"{a}=0.7", f"{b}=0.4", str(files.path("transformers")), "-o", str(blend)]
    assert main(wanted) == 0
    reference = files.reference(CASES[1], (first, 0.7), (second, 0.4))
    ours = files.run("transformers", CASES[1], **loaded(blend))
    assert np.abs(ours - reference).max() < 3e-6


@pytest.mark.skipif(not hasattr(onnxruntime, "AdapterFormat"), reason="old ONNX Runtime")
def test_onnx_runtimes_own_adapters_do_the_same(files, tmp_path) -> None:
    style = tmp_path / "style.safetensors"
    loras.make(style, files.unet(), alpha=1.0)
    ours, theirs = tmp_path / "ours.safetensors", tmp_path / "theirs.onnx_adapter"
    for target in (ours, theirs):
        assert main([str(style), str(files.path("transformers")), "-o", str(target)]) == 0
    adapter, options = onnxruntime.LoraAdapter(), onnxruntime.RunOptions()
    adapter.Load(str(theirs))
    options.add_active_adapter(adapter)
    inputs = {k: v.numpy() for k, v in make_inputs(CASES[1], files.source, "fp32").items()}
    (result,) = files.sessions["transformers"].raw.run(None, inputs, options)
    expected = files.run("transformers", CASES[1], **loaded(ours))
    assert result.tobytes() == expected.tobytes()


@pytest.mark.parametrize(("alpha", "dtype"), [(4.0, torch.float16), (None, torch.bfloat16)])
def test_the_file_is_no_larger_than_the_lora(files, tmp_path, alpha, dtype) -> None:
    style = tmp_path / "style.safetensors"
    loras.make(style, files.unet(), named=loras.kohya, dtype=dtype)
    assert main([str(style), str(files.path("transformers"))]) == 0
    written = tmp_path / "style.transformers.safetensors"
    assert written.stat().st_size <= 1.1 * style.stat().st_size


def test_diffusers_with_peft_agrees(files, tmp_path) -> None:
    pytest.importorskip("peft")
    style = tmp_path / "style.safetensors"
    loras.make(style, files.unet(), within=["attn"])
    unet = files.unet()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what peft itself depends on
        unet.load_lora_adapter(load_file(style), prefix="unet", adapter_name="style")
    unet.set_adapters("style", 0.6)
    with torch.no_grad():
        inputs = make_inputs(CASES[1], files.source, "fp32")
        reference = unet(**inputs, return_dict=False)[0].numpy()
    assert main([str(style), str(files.path("transformers"))]) == 0
    factors = loaded(tmp_path / "style.transformers.safetensors")
    ours = files.run("transformers", CASES[1], **factors, lora_scale=torch.tensor(0.6))
    assert np.abs(ours - reference).max() < 3e-6


def exchanged(model: ir.Model) -> None:
    """A factor of to_q goes where to_k's belongs."""
    one, two = (edits.find(model, TO_Q[:-1] + which, "MatMul", 1) for which in ("q", "k"))
    first, second = one.inputs[1], two.inputs[1]
    one.replace_input_with(1, second)
    two.replace_input_with(1, first)


def unscaled(model: ir.Model) -> None:
    node = edits.find(model, TO_Q, "Mul")
    node.outputs[0].replace_all_uses_with(node.inputs[0])


def transposed(model: ir.Model) -> None:
    """The second factor is read the other way round, in its memory's order."""
    node = edits.find(model, TO_Q, "MatMul", 2)

    def build(op: Callable[..., ir.Value], value: ir.Value) -> ir.Value:
        return op("Reshape", op("Transpose", value, perm=[1, 0]), op("Shape", value))

    edits.change_input(node, 1, build)


@pytest.mark.parametrize("fault", [exchanged, unscaled, transposed])
def test_a_wrong_branch_fails_and_is_named(files: Files, fault: edits.Edit) -> None:
    wrong = edits.inject(files.path("transformers"), files.path("wrong"), fault)
    subject = files.subject("transformers")
    case = cases_of(subject.source)[-1]
    assert not check(wrong, subject, cases=[case]).passed
    finding = locate(wrong, subject, case).finding
    assert finding is not None
    assert finding.module in (TO_Q, TO_Q[:-1] + "k")
    assert finding.role == "lora"


def test_branches_are_annotated(files: Files) -> None:
    model = ir.load(files.path("all"))
    found = [n for n in edits.nodes(model) if n.metadata_props.get(meta.ROLE) == "lora"]
    sums = {n.metadata_props[meta.CONDITION] for n in found if n.op_type == "Add"}
    unet = files.unet()
    assert sums == loras.layers(unet).keys()
    assert all(n.metadata_props[meta.MODULE] in sums for n in found)
    (sources,) = {
        n.metadata_props[meta.SKIP_SOURCE] for n in model.graph if n.name == "conv_in/lora_Add"
    }
    assert sources == "0"


def test_baked_in_while_streaming(files, workshop, tmp_path) -> None:
    style = tmp_path / "style.safetensors"
    change = loras.make(style, files.unet(), within=[""], alpha=1.0)
    fused = tmp_path / "fused.onnx"
    workshop.export(fused, files.folder, fuse_lora=(f"{style}=0.8",), check=True)
    assert read_contract(fused).fused == ("style.safetensors=0.8",)
    inputs = make_inputs(CASES[1], files.source, "fp32")
    ours = open_session(fused, "cpu").run(inputs)["out_sample"]
    assert np.abs(ours - files.reference(CASES[1], (change, 0.8))).max() < 3e-6
    with pytest.raises(Exception, match="is computed"):
        workshop.export(fused, files.folder, fuse_lora=(str(style),), weights="link")


def bad(files: Files, folder: Path, how: str) -> Path:
    file = folder / "bad.safetensors"
    loras.make(file, files.unet())
    stored = load_file(file)
    first = next(iter(stored))
    if how == "another family":
        stored = {
            k: torch.zeros(v.shape[0], 99) if "attn2.to_k.lora_A" in k else v
            for k, v in stored.items()
        }
    elif how == "unknown layer":
        stored = {k.replace("down_blocks.0", "down_blocks.7"): v for k, v in stored.items()}
    elif how == "one factor":
        del stored[first]
    elif how == "alpha":
        stored[first.replace("lora_A.weight", "alpha")] = torch.tensor(float("nan"))
    elif how == "scalar":
        stored[first] = torch.tensor(1.0)
    elif how == "two names":
        for name in (first, first.replace("lora_A", "lora_B")):
            stored[f"base_model.model.{name}"] = stored[name].clone()
    elif how == "text alone":
        stored = {"lora_te_text_model.lora_down.weight": torch.zeros(2, 2)}
    elif how == "no rank":
        stored[first] = stored[first][:0]
    else:
        stored[first.replace("lora_A.weight", how)] = torch.zeros(3)
    save_file(stored, file)
    return file


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ("another family", r"factors of .*99.* weight of \[16, 16\].* use a LoRA of this"),
        ("unknown layer", "down_blocks.7.* this UNet does not have"),
        ("one factor", "has no down factor"),
        ("text alone", "no LoRA of a UNet"),
        ("no rank", "factors of"),
        ("alpha", "is not finite"),
        ("scalar", "expected a matrix of floats"),
        ("two names", "under two names"),
        ("lora_magnitude_vector", "is DoRA"),
        ("lokr_w1", "is LoKr"),
        ("hada_w1_a", "is LoHa"),
        ("something", "the factors of a LoRA alone"),
    ],
)
def test_bad_loras_are_refused_and_nothing_written(files, tmp_path, capsys, how, told) -> None:
    file = bad(files, tmp_path, how)
    assert main([str(file), str(files.path("transformers"))]) == 2
    error = capsys.readouterr().err
    assert re.search(told, error), error
    assert len(error.strip().splitlines()) == 1
    assert [p.name for p in tmp_path.iterdir()] == ["bad.safetensors"]


def test_files_without_branches_or_with_too_few_are_refused(files, tmp_path, capsys) -> None:
    style = tmp_path / "style.safetensors"
    loras.make(style, files.unet(), within=["resnets"])
    assert main([str(style), str(files.path("plain"))]) == 2
    assert "takes no LoRA" in capsys.readouterr().err
    assert main([str(style), str(files.path("transformers"))]) == 2
    assert "export the file with --lora all" in capsys.readouterr().err
    assert main([f"{style}=x", str(files.path("all"))]) == 2
    assert "expected a number" in capsys.readouterr().err
    mine = tmp_path / "mine.safetensors"
    save_file({"a": torch.zeros(1)}, mine)
    assert main([str(style), str(files.path("all")), "-o", str(mine)]) == 2
    assert "is another kind of file" in capsys.readouterr().err
    assert load_file(mine).keys() == {"a"}


def test_wishes_that_contradict_are_refused(files, tmp_path, capsys) -> None:
    target = tmp_path / "x.onnx"
    common = [str(target), "--model", str(files.folder), "--lora"]
    for more in (["--optimize", "ort"], ["--keep-fp32", "conv_in"]):
        assert export_main([*common, *more]) == 2
        assert f"--lora with {more[0]}" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
