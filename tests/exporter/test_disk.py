"""Files are whole or absent."""

import pytest

from exporter.disk import replacing, synced, write_text
from exporter.errors import TargetError


def _names(folder):
    return [path.name for path in folder.iterdir()]


def test_a_text_replaces_what_was_there(tmp_path):
    place = tmp_path / "x.json"
    place.write_text("old")
    write_text(place, "é\n")
    assert place.read_text(encoding="utf-8") == "é\n"
    assert _names(tmp_path) == ["x.json"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_what_was_there_stays_when_writing_fails(tmp_path, error):
    place = tmp_path / "x.json"
    place.write_text("old")
    with pytest.raises(error), replacing(place) as temporary:  # noqa: PT012
        temporary.write_text("half")
        raise error
    assert place.read_text() == "old"
    assert _names(tmp_path) == ["x.json"]


def test_an_error_of_the_disk_is_one_of_ours(tmp_path):
    with pytest.raises(TargetError, match=r"x\.json cannot be written: No such file"):
        write_text(tmp_path / "absent" / "x.json", "")
    with (
        pytest.raises(TargetError, match="cannot be written: Is a directory"),
        synced(tmp_path),
    ):
        raise AssertionError
