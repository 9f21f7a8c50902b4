"""The page as one self-contained HTML file: no server, no Netron, no other file."""

from __future__ import annotations

import json
from pathlib import Path

from viewer.disk import write_whole
from viewer.model.atlas import Atlas
from viewer.model.condense import condense
from viewer.serve.pages import self_contained
from viewer.serve.shown import Shown


def page(shown: Shown) -> str:
    """The whole page as text; every name from the model is data in it, never markup.

    Args:
        shown: One model, or two to compare; its recording goes in too, condensed.
    """
    about = shown.about()
    about["atlases"] = [json.loads(atlas) for atlas in shown.atlases]
    about["comparison"] = shown.comparison
    recording = condense(shown.recording) if shown.recording is not None else b""
    return self_contained("page", about, recording).decode()


def replay(recording: bytes, atlas: Atlas | None) -> bytes:
    """The page that replays a recording.

    Args:
        recording: A recording's bytes, condensed or whole; they go into the page.
        atlas: The model for the map, if it is at hand.
    """
    about = {"models": 0, "atlas": atlas.to_json() if atlas is not None else None}
    return self_contained("replay", about, recording)


def write(shown: Shown, target: Path) -> None:
    """Writes the page, complete or not at all.

    Raises:
        TargetError: It cannot be written there.
    """
    write_whole(target, page(shown).encode())
