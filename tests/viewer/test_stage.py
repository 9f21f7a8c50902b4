"""Files that hold the whole sampling stage: the U inside the loop, and the level above it."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
from diffusers import DDIMScheduler
from playwright.sync_api import expect

from tests.viewer.looped import CONFIG, FORMULA, build_looped
from viewer.model.atlas import Atlas, read
from viewer.model.attention import attends
from viewer.model.stage import signal_shares
from viewer.model.tree import Node


@pytest.fixture(scope="session")
def looped(tmp_path_factory: pytest.TempPathFactory) -> Atlas:
    return read(build_looped(tmp_path_factory.mktemp("looped") / "image.onnx"))


def test_the_u_is_found_inside_the_loop(looped: Atlas, atlas: Atlas) -> None:
    assert [b.kind for b in looped.blocks] == [b.kind for b in atlas.blocks]
    assert len(looped.skips) == len(atlas.skips)
    assert len(looped.injections) == len(atlas.injections)
    flows = {value.name: value.flow for value in looped.tree.values}
    assert (flows["prompt"], flows["time"], flows["after"]) == ("text", "time", "image")
    assert not any("U cannot be drawn" in said for said in looped.missing)


def test_what_lies_around_it_is_named(looped: Atlas, atlas: Atlas) -> None:
    stage, nodes = looped.stage, looped.tree.nodes
    assert atlas.stage is None
    assert stage is not None
    assert [nodes[i].op for i in stage.encoders] == ["TextEncoder"]
    assert nodes[stage.loop].op == "Loop"
    assert nodes[stage.unet].path == "Loop/UNet"
    assert stage.step is not None
    assert nodes[stage.step].op == "DDIM"
    assert stage.decoder is not None
    assert nodes[stage.decoder].op == "ImageDecoder"
    assert stage.guidance is None
    assert stage.state == ("latents_in",)
    assert stage.formula == FORMULA


def _as(node: Node, role: str) -> Node:
    return replace(node, metadata={**node.metadata, "atlas.role": role})


def test_attentions_of_a_text_encoder_are_not_the_us(atlas: Atlas) -> None:
    node = atlas.tree.nodes[atlas.attentions[0].node]
    assert attends(node)
    assert not attends(_as(node, "text_encoder"))
    assert not attends(_as(node, "image_decoder"))


@pytest.mark.parametrize(
    "config",
    [
        CONFIG,
        {**CONFIG, "beta_schedule": "linear"},
        {**CONFIG, "beta_schedule": "squaredcos_cap_v2"},
        {**CONFIG, "rescale_betas_zero_snr": True},
    ],
    ids=["scaled_linear", "linear", "cosine", "zero snr"],
)
def test_noise_levels_are_those_of_diffusers(config: dict[str, object]) -> None:
    theirs = DDIMScheduler.from_config(config).alphas_cumprod
    ours = signal_shares(config)
    assert len(ours) == len(theirs)
    assert all(
        math.isclose(a, float(b), rel_tol=2e-3, abs_tol=1e-6)
        for a, b in zip(ours, theirs, strict=True)
    )


@pytest.mark.parametrize(
    "config",
    [{}, {"beta_schedule": "other"}, {**CONFIG, "beta_end": "x"}, {**CONFIG, "beta_end": 7.0}],
)
def test_a_config_that_tells_nothing_gives_no_levels(config: dict[str, object]) -> None:
    assert signal_shares(config) == ()


@pytest.mark.parametrize("spacing", ["leading", "trailing", "linspace"])
def test_the_page_shows_stage_and_numbers(
    eyes, serve, tmp_path: Path, spacing: str, looped: Atlas, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = {**CONFIG, "timestep_spacing": spacing}
    assert looped.stage is not None
    object.__setattr__(looped.stage, "config", config)
    url = serve(looped).url
    page = eyes.open(url)
    stage = page.locator(".stage")
    expect(stage).to_contain_text("Text encoder")
    expect(stage).to_contain_text("carries latents_in from round to round")
    expect(stage).to_contain_text(FORMULA)
    expect(page.locator(".map .block")).to_have_count(8)
    scheduler = DDIMScheduler.from_config(config)
    scheduler.set_timesteps(10)
    for at in (0, 9):
        page.get_by_label("Round", exact=True).evaluate(
            "(one, at) => { one.value = at; one.dispatchEvent(new Event('input')); }", at + 1
        )
        expect(stage.locator(".stage-said")).to_contain_text(
            f"Round {at + 1} of 10, timestep {int(scheduler.timesteps[at])}:"
        )
    if spacing == "leading":
        page.goto(f"{url}#/?tab=trace&from=input_ids&to=image")
        expect(stage.locator(".lit")).to_have_count(4)  # encoder, UNet, step, decoder
        stage.get_by_text("UNet", exact=True).click()
        expect(page.locator(".crumbs [aria-current]")).to_have_text("UNet")
