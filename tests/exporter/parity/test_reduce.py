"""A failing file becomes a few nodes that fail by themselves, and no longer when mended."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from jsonschema import Draft202012Validator

from exporter.errors import ParityError, TargetError, UsageError
from exporter.parity.cases import ParityCase
from exporter.parity.cli import main
from exporter.parity.reduce import Reduction, reduce
from exporter.parity.reduce.files import guard, write
from exporter.parity.subject import Subject
from exporter.paths import is_inside
from exporter.source import load_source
from tests.exporter.conftest import Workshop
from tests.exporter.parity.edits import inject
from tests.exporter.parity.fault_set import FAULTS, gathered, on, on_input

CASE = ParityCase(2, 9, 11, 5, 261.5, per_sample=True)
ROOT = Path(__file__).parents[3]
SCHEMA = Draft202012Validator(json.loads((ROOT / "docs/report.schema.json").read_text()))
CPU = "CPUExecutionProvider"

TEN = (
    "output channel zeroed",
    "linear bias by 1 %",
    "linear weight transposed",
    "scale and shift of a norm exchanged",
    "K and V exchanged",
    "Gelu is Swish",
    "residual doubled",
    "sine and cosine exchanged",
    "output channels exchanged",
    "first sample's text for all",
)
"""One of each kind: parameters, attributes, operators, wiring, time, output, batch."""

Reduce = Callable[[str], Reduction]


@pytest.fixture(scope="module")
def subject(workshop: Workshop) -> Subject:
    return Subject(load_source(str(workshop.pipeline("micro"))), provider="cpu")


@pytest.fixture(scope="module")
def reduced(workshop: Workshop, subject: Subject) -> Reduce:
    right, made = workshop.exported("micro"), dict[str, Reduction]()

    def reduction(name: str) -> Reduction:
        if name not in made:
            wrong = inject(right, right.with_name("reduce.onnx"), FAULTS[name].edit)
            made[name] = reduce(wrong, subject, CASE)
        return made[name]

    return reduction


def _run(script: Path) -> subprocess.CompletedProcess[str]:
    """Without our package: in isolated mode, far from this folder."""
    command = [sys.executable, "-I", str(script)]
    return subprocess.run(command, cwd="/", capture_output=True, text=True, check=False)


@pytest.mark.parametrize("name", TEN)
def test_a_fault_is_reduced_to_five_nodes(name: str, reduced: Reduce) -> None:
    found = reduced(name)
    assert found.fails
    assert len(found.nodes) <= 5
    assert found.nbytes <= 1_000_000
    onnx.checker.check_model(found.serialized, full_check=True)
    assert is_inside(found.finding.module, FAULTS[name].module)
    assert found.finding.source.startswith("diffusers/")
    session = onnxruntime.InferenceSession(found.serialized, providers=[CPU])
    (got,) = session.run(None, found.inputs)
    assert not np.sqrt(np.mean((got.astype(np.float64) - found.expected) ** 2)) <= found.limit


def test_its_script_is_ten_lines_and_fails_without_our_package(
    reduced: Reduce, tmp_path: Path
) -> None:
    found = reduced("K and V exchanged")
    model, numbers, script = write(found, tmp_path / "small.onnx", CPU)
    assert sorted(tmp_path.iterdir()) == sorted((model, numbers, script))
    text = script.read_text()
    assert len([line for line in text.splitlines() if line]) <= 10
    assert "exporter" not in text
    assert "attn2: Attention" in text
    result = _run(script)
    assert (result.returncode, result.stderr[:5]) == (1, "wrong")
    mended = onnx.load(model)
    node = next(node for node in mended.graph.node if node.op_type == "Attention")
    node.input[1], node.input[2] = node.input[2], node.input[1]
    onnx.save(mended, model)
    assert _run(script).returncode == 0  # PyTorch's value is the one expected


def test_a_weight_is_cut_to_its_worst_channel_and_mended_by_the_right_one(
    reduced: Reduce, subject: Subject
) -> None:
    found = reduced("output channel zeroed")
    assert found.nodes == ("Conv",)
    assert found.expected is not None
    assert found.expected.shape == (2, 1, 9, 11)
    right = subject.source.weights.read("down_blocks.0.resnets.0.conv1.weight")[3:4].numpy()
    weight = next(
        value for value in found.model.graph.initializers.values() if len(value.shape) == 4
    )
    assert weight.const_value is not None
    assert not weight.const_value.numpy().any()
    model = onnx.load_from_string(found.serialized)
    held = next(t for t in model.graph.initializer if t.name == weight.name)
    held.CopyFrom(onnx.numpy_helper.from_array(right, held.name))
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=[CPU])
    (got,) = session.run(None, found.inputs)
    assert np.sqrt(np.mean((got.astype(np.float64) - found.expected) ** 2)) <= found.limit


def test_a_node_that_cannot_run_is_what_is_left(
    workshop: Workshop, subject: Subject, tmp_path: Path
) -> None:
    right = workshop.exported("micro")
    edit = on("up_blocks.1", "Concat", on_input(1, gathered(3, [0, 1])))  # another width
    found = reduce(inject(right, right.with_name("stops.onnx"), edit), subject, CASE)
    assert found.nodes == ("Concat",)
    assert found.fails
    assert found.expected is None
    _, _, script = write(found, tmp_path / "small.onnx", CPU)
    result = _run(script)
    assert result.returncode == 1
    assert "mismatched dimensions" in result.stderr


def test_a_right_file_leaves_nothing(workshop: Workshop, subject: Subject) -> None:
    with pytest.raises(ParityError, match=r"cannot be reduced on B2H9W11S5.*nothing departs"):
        reduce(workshop.exported("micro"), subject, CASE)


def test_a_fault_outside_the_cut_is_not_claimed(
    workshop: Workshop, subject: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is left must fail by itself: a limit that nothing exceeds leaves nothing."""
    monkeypatch.setattr("exporter.parity.reduce.shrink.DEPARTS", 1e12)
    right = workshop.exported("micro")
    wrong = inject(right, right.with_name("reduce.onnx"), FAULTS["residual doubled"].edit)
    with pytest.raises(ParityError, match="within the floor"):
        reduce(wrong, subject, CASE)


def test_the_command_writes_it_and_says_so(
    workshop: Workshop, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    right = workshop.exported("micro")
    edit = FAULTS["attention scale dropped"].edit
    wrong = inject(right, right.with_name("reduce.onnx"), edit)
    argv = [
        *(str(wrong), "--model", str(workshop.pipeline("micro")), "--provider", "cpu"),
        *("--quiet", "--case", "B1H8W9S7", "--reduce", str(tmp_path / "small.onnx")),
        *("--report", str(tmp_path / "x.json")),
    ]
    assert main(argv) == 1
    assert "reduced to 1 node (Attention)" in " ".join(capsys.readouterr().out.split())
    report = json.loads((tmp_path / "x.json").read_text())
    SCHEMA.validate(report)
    assert report["reduction"]["nodes"] == ["Attention"]
    assert _run(tmp_path / "small.py").returncode == 1


def test_another_ending_is_refused_before_any_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["unet.onnx", "--reduce", str(tmp_path / "small.txt")]) == 2
    assert "expected a name that ends in .onnx" in " ".join(capsys.readouterr().err.split())


def test_what_no_reduction_wrote_is_not_replaced(reduced: Reduce, tmp_path: Path) -> None:
    target = tmp_path / "small.onnx"
    write(reduced("K and V exchanged"), target, CPU)
    guard(target, tmp_path / "unet.onnx")  # one of ours may be
    (tmp_path / "small.py").write_text("print('mine')\n")
    with pytest.raises(TargetError, match="which no reduction wrote"):
        guard(target, tmp_path / "unet.onnx")
    with pytest.raises(UsageError, match="are one"):
        guard(target, target)
