"""``python -m exporter.parity`` as CI runs it: exit codes, reports, messages."""

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from jsonschema import Draft202012Validator

from exporter.parity.cli import main
from exporter.pipeline import export
from exporter.targets import JUNIT, MARKDOWN, PARITY_REPORT, SVG
from exporter.types import ExportRequest
from tests.exporter.parity import faults

ROOT = Path(__file__).parents[3]
SCHEMA = Draft202012Validator(json.loads((ROOT / "docs/report.schema.json").read_text()))
SMALL = ("--provider", "cpu", "--quiet", "--case", "B1H8W8S7")

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def _reports(folder: Path) -> list[str]:
    return [
        *("--report", str(folder / "x.json")),
        *("--junit", str(folder / "x.xml")),
        *("--markdown", str(folder / "x.md")),
    ]


def test_a_proven_file_exits_0_and_reports(
    folded: Path, tiny_pipeline: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(
        [
            str(folded),
            *("--model", str(tiny_pipeline)),
            *SMALL,
            *("--trajectory", "2", "--scheduler", "euler", "--scheduler", "ddim"),
            *("--trajectory-case", "B1H8W8S7", "--plot", str(tmp_path / "x.svg")),
            *_reports(tmp_path),
        ]
    )
    assert code == 0
    assert "parity passed" in capsys.readouterr().out
    report = json.loads((tmp_path / "x.json").read_text())
    SCHEMA.validate(report)
    assert report["passed"] is True
    assert "whether each sample of a batch" in " ".join(report["parity"]["unseen"])
    times = report["parity"]["times"]
    assert all(times[part] > 0 for part in ("loading", "torch", "higher", "session", "run"))
    assert times["ranges"] == 0  # no half type
    assert sum(times.values()) < report["seconds"]
    assert [run["scheduler"] for run in report["trajectories"]] == ["euler", "ddim"]
    suite = ElementTree.parse(tmp_path / "x.xml").getroot()[0]
    assert suite.attrib["failures"] == "0"
    assert [case.attrib["classname"] for case in suite] == ["parity", *["trajectory"] * 2]
    assert "passed ✅" in (tmp_path / "x.md").read_text()
    kinds = {"json": PARITY_REPORT, "xml": JUNIT, "md": MARKDOWN, "svg": SVG}
    for suffix, kind in kinds.items():
        assert kind.holds(tmp_path / f"x.{suffix}")  # so that it may be written again
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_a_wrong_file_exits_1_and_every_report_names_the_module(
    folded: Path, tiny_pipeline: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    module = "up_blocks.2.resnets.1.conv2"
    wrong = faults.inject(folded, folded.with_name("cli.onnx"), faults.zero_channel(module))
    argv = [str(wrong), "--model", str(tiny_pipeline), *SMALL, *_reports(tmp_path)]
    assert main(argv) == 1
    assert "parity failed" in capsys.readouterr().out
    report = json.loads((tmp_path / "x.json").read_text())
    SCHEMA.validate(report)
    assert report["location"]["finding"]["module"] == module
    assert report["location"]["finding"]["role"] == "resnet"
    assert "diffusers/models/resnet.py:" in report["location"]["finding"]["source"]
    assert module in (tmp_path / "x.xml").read_text()
    assert module in (tmp_path / "x.md").read_text().replace("\\", "")


def test_a_file_of_ours_names_its_own_model(tmp_path: Path) -> None:
    target = tmp_path / "unet.onnx"
    export(ExportRequest(target, model="tiny", seed=7, check=False))
    assert main([str(target), *SMALL]) == 0
    assert main([str(target), *SMALL, "--seed", "8"]) == 1


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["nowhere.onnx"], "cannot read"),
        (["{file}"], "--model"),
        (["{file}", "--model", "{model}", "--case", "2x4"], "case '2x4'"),
        (["{file}", "--model", "{model}", "--atol", "-1"], "atol"),
        (["{file}", "--model", "{model}", "--plot", "x.svg"], "--trajectory"),
        (["{file}", "--model", "{model}", "--trajectory", "0"], "--trajectory 0"),
        (["{file}", "--model", "{model}", "--report", "no/where/x.json"], "no folder"),
        (["{file}", "--model", "tiny-xl"], "text_embeds"),
        (["{file}", "--model", "{model}", "--dtype", "bf16", "--provider", "cpu"], "bf16"),
    ],
)
def test_bad_usage_exits_2_with_one_line(
    foreign: Path,
    tiny_pipeline: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    argv: list[str],
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    filled = [part.format(file=foreign, model=tiny_pipeline) for part in argv]
    assert main([*filled, "--quiet"]) == 2
    captured = capsys.readouterr()
    (line,) = captured.err.splitlines()
    assert line.startswith("error: ")
    assert said in line
    assert not captured.out


def test_a_report_that_cannot_be_written_leaves_nothing(
    folded: Path, tiny_pipeline: Path, tmp_path: Path
) -> None:
    (tmp_path / "x.json").mkdir()
    argv = [str(folded), "--model", str(tiny_pipeline), *SMALL]
    assert main([*argv, "--report", str(tmp_path / "x.json")]) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["x.json"]


def test_the_schema_sees_what_is_wrong() -> None:
    wrong: dict[str, Any] = {"schema": 2, "file": 1, "passed": 1, "extra": 0}
    found = " ".join(error.message for error in SCHEMA.iter_errors(wrong))
    for part in ("1 was expected", "'string'", "'boolean'", "'extra' was", "'parity' is"):
        assert part in found
