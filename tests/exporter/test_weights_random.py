import random

import pytest
import torch

from exporter.source import load_source
from exporter.weights.random import RandomWeights
from exporter.weights.unet import load_unet


def test_values_depend_on_seed_and_name_alone():
    first, again, other = (load_source("tiny", seed=seed).weights for seed in (0, 0, 1))
    names = list(first.tensors)
    shuffled = random.Random(0).sample(names, len(names))
    kept = {name: again.read(name) for name in shuffled}
    for name in names:
        assert torch.equal(first.read(name), kept[name])
        assert not torch.equal(first.read(name), other.read(name))


def test_equally_shaped_tensors_differ():
    weights = load_source("tiny").weights
    shape = weights.tensors["mid_block.resnets.0.conv1.weight"].shape
    alike = [name for name, spec in weights.tensors.items() if spec.shape == shape]
    assert len(alike) > 2
    assert len({tuple(weights.read(name).flatten()[:4].tolist()) for name in alike}) == len(
        alike
    )


def test_first_values_are_pinned():
    """A report that says ``random, seed 0`` must mean the same weights on every machine."""
    weights = load_source("tiny").weights
    values = weights.read("conv_in.bias")[:3].tolist()
    assert values == pytest.approx([-0.0521690, 0.1553894, -0.0973958], abs=1e-7)


def test_statistics_are_those_of_default_initialisation(make_unet):
    weights, reference = load_source("tiny-xl").weights, make_unet("tiny-xl").state_dict()
    assert weights.tensors.keys() == reference.keys()
    for name, tensor in reference.items():
        if tensor.numel() < 1000 or "norm" in name:
            continue
        drawn = weights.read(name)
        assert drawn.shape == tensor.shape
        assert drawn.mean().abs() < 0.1 * tensor.std() + 0.01
        assert drawn.std() == pytest.approx(tensor.std().item(), rel=0.1), name


def test_norms_are_near_but_never_at_identity():
    weights = load_source("tiny").weights
    norms = [name for name in weights.tensors if "norm" in name]
    assert norms
    for name in norms:
        centre = 1.0 if name.endswith("weight") else 0.0
        apart = (weights.read(name) - centre).abs()
        assert 0.05 < apart.max() <= 0.1


@pytest.mark.parametrize(
    "changes", [{"time_embedding_type": "fourier"}, {"num_class_embeds": 9}]
)
def test_bare_parameters_and_embeddings_are_drawn(make_unet, changes):
    unet = make_unet(**changes)
    weights = RandomWeights(unet)
    name = "time_proj.weight" if "time_embedding_type" in changes else "class_embedding.weight"
    assert weights.read(name).shape == unet.state_dict()[name].shape
    assert weights.read(name).std() == pytest.approx(1, abs=0.4)


@pytest.mark.parametrize("preset", ["tiny", "tiny-xl"])
def test_outputs_are_sane(preset):
    source = load_source(preset)
    unet = load_unet(source, torch.float32)
    generator = torch.Generator().manual_seed(0)

    def noise(*shape):
        return torch.randn(shape, generator=generator)

    widths = {spec.name: spec.shape[-1] for spec in source.inputs if spec.shape}
    added = {
        name: noise(2, widths[name]) for name in ("text_embeds", "time_ids") if name in widths
    }
    text = noise(2, 5, widths["encoder_hidden_states"])
    out = unet(noise(2, 4, 16, 16), torch.tensor(501.0), text, added_cond_kwargs=added).sample
    assert 0.05 < out.std() < 5
