"""What the exporter recorded, replayed by the viewer in Chromium."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from exporter.sample.plan import RecordRequest
from exporter.sample.sweep import sweep
from tests.exporter.sample.tinysd import STEPS
from viewer.model import atlas
from viewer.model.recording import read_recording
from viewer.serve import netron
from viewer.serve.server import Server
from viewer.serve.shown import Shown


@pytest.fixture
def replay(eyes: Any) -> Any:
    """``replay(recording, model)``: the page, failing on any complaint of the browser."""
    servers = []

    def open_page(recording: Path, model: Path) -> Any:
        shown = Shown((atlas.read(model),), recording=read_recording(recording))
        servers.append(Server(shown, netron.find()))
        servers[-1].start()
        return eyes.open(f"{servers[-1].url}recording", wait="timeline")

    yield open_page
    for server in servers:
        server.close()


def test_a_recorded_pipeline_is_replayed(
    recorded: Any, request_: RecordRequest, replay: Any
) -> None:
    page = replay(request_.target, request_.model)
    expect(page.locator(".replay-title")).to_contain_text("20 evaluations")
    expect(page.locator(".grid thead th")).to_have_text(
        ["layer", "‹startoftext›", "a", "red", "cat", "‹endoftext›"]
    )
    expect(page.locator(".grid tbody tr")).to_have_count(len(recorded.metadata["attentions"]))
    expect(page.locator(".map .hot")).not_to_have_count(0)
    before = page.locator("canvas.picture").evaluate("canvas => canvas.toDataURL()")
    page.locator("#step").fill(str(STEPS))
    page.wait_for_selector(f"html[data-shown='{STEPS}']")
    assert page.locator("canvas.picture").evaluate("c => c.toDataURL()") != before
    expect(page.locator(".step-label")).to_contain_text("step 20 of 20, t = 0")
    page.get_by_label("Quantity").select_option("skip.share")
    expect(page.locator(".map .skip.hot")).to_have_count(len(recorded.metadata["skips"]))


def test_a_sweep_is_replayed(folded: Path, replay: Any, tmp_path: Path) -> None:
    sweep(RecordRequest(folded, tmp_path / "time.safetensors"), 16)
    page = replay(tmp_path / "time.safetensors", folded)
    expect(page.locator("canvas.picture")).to_have_count(2)
    expect(page.locator(".replay-note")).to_have_text("the time alone: no text is read")
    expect(page.locator(".grid-box")).to_be_hidden()
