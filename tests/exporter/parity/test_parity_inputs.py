import pytest
import torch

from exporter.denoising.conditions import text_embedding
from exporter.parity.cases import ParityCase
from exporter.parity.conditions import conditions
from exporter.parity.inputs import clean_latents, make_inputs
from exporter.source import load_source
from exporter.types import Source

CASE = ParityCase(2, 24, 20, 77, 500)


def test_inputs_have_the_shapes_and_types_of_the_model(tiny_source: Source) -> None:
    made = make_inputs(CASE, tiny_source, "fp16")
    assert {name: tuple(x.shape) for name, x in made.items()} == {
        "sample": (2, 4, 24, 20),
        "timestep": (1,),
        "encoder_hidden_states": (2, 77, 48),
    }
    assert made["sample"].dtype is torch.float16
    assert made["timestep"].dtype is torch.float32
    assert float(made["timestep"]) == 500


def test_each_sample_may_have_its_own_timestep(tiny_source: Source) -> None:
    made = make_inputs(ParityCase(2, 8, 8, 7, 600, per_sample=True), tiny_source, "fp32")
    assert made["timestep"].tolist() == [600, 450]


def test_the_same_case_is_the_same_numbers_and_another_seed_is_not(
    tiny_source: Source,
) -> None:
    first, again = (make_inputs(CASE, tiny_source, "fp32") for _ in range(2))
    other = make_inputs(ParityCase(2, 24, 20, 77, 500, seed=1), tiny_source, "fp32")
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["sample"], other["sample"])


def test_latents_are_noised_by_the_schedule(tiny_source: Source) -> None:
    def roughness(timestep: float) -> float:
        sample = make_inputs(ParityCase(1, 64, 64, 7, timestep), tiny_source, "fp32")["sample"]
        assert sample.std() == pytest.approx(1, abs=0.15)
        return float((sample[..., 1:] - sample[..., :-1]).std())

    levels = [roughness(timestep) for timestep in (0, 261.25, 500, 999)]
    assert levels == sorted(levels)  # white noise is rougher than a photograph
    assert levels[-1] > 1.5 * levels[0]


def test_clean_latents_have_unit_variance_at_any_size() -> None:
    random = torch.Generator().manual_seed(0)
    for size in ((1, 4, 8, 8), (2, 4, 33, 35), (1, 3, 9, 7)):
        assert clean_latents(size, random).std() == pytest.approx(1, abs=0.05)


def test_text_has_clips_outliers_and_a_constant_tail() -> None:
    text = text_embedding((1, 77, 768), torch.Generator().manual_seed(0))
    assert text[0, 0].max() == pytest.approx(33)
    assert text[0, 0].min() == pytest.approx(-28)
    assert text[0, 1:].std() == pytest.approx(1, abs=0.1)
    padding = text[0, -2] - text[0, -1]
    assert padding.std() < 0.3


@pytest.mark.parametrize("tokens", [1, 2, 154])
def test_any_number_of_tokens_works(tokens: int) -> None:
    text = text_embedding((3, tokens, 48), torch.Generator().manual_seed(0))
    assert text.shape == (3, tokens, 48)
    assert text.isfinite().all()


@pytest.mark.parametrize("preset", ["sd-inpaint", "sdxl", "sdxl-refiner", "lcm", "ddpm"])
def test_every_preset_is_fed_whole(preset: str) -> None:
    source = load_source(preset)
    made = make_inputs(ParityCase(2, 16, 16, 7, 20), source, "fp32")
    assert list(made) == [spec.name for spec in source.inputs]
    assert all(x.isfinite().all() for x in made.values())
    if preset == "sd-inpaint":
        mask = made["sample"][:, 4]
        assert {0.0, 1.0} < set(mask.unique().tolist())  # and a soft edge between them
        assert (made["sample"][:, 5:].abs().sum(1) == 0).equal(mask == 1)
    for name, tensor in made.items():
        if name != "timestep":
            assert not torch.equal(tensor[0], tensor[1]), name  # each sample has its own
    if preset.startswith("sdxl"):
        assert made["time_ids"][0, :5].unique().numel() == 5
        assert (made["time_ids"][:, :4] % 8 != 0).all()


@pytest.mark.parametrize("preset", ["sd-inpaint", "sdxl", "sdxl-refiner", "lcm", "ddpm"])
def test_a_contrast_changes_one_condition_a_sample(preset: str) -> None:
    source = load_source(preset)
    wanted = conditions(source)
    case = ParityCase(1 + len(wanted), 16, 16, 7, 20, per_sample=True, contrast=True)
    made = make_inputs(case, source, "fp32")
    for index, condition in enumerate(wanted, start=1):
        changed = {name for name, x in made.items() if not torch.equal(x[index], x[0])}
        assert changed == {condition.input}, condition.name
