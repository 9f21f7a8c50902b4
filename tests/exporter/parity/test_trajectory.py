from pathlib import Path
from xml.etree import ElementTree

import pytest

from exporter.parity.cases import ParityCase
from exporter.parity.render.plot import plot
from exporter.parity.subject import Subject
from exporter.parity.trajectory import SCHEDULERS, Trajectory, run_trajectories
from tests.exporter.parity import faults

# diffusers' Euler hands a tensor to numpy without a copy argument
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

SMALL = ParityCase(1, 8, 8, 7)


def test_four_schedulers_stay_at_their_floor(folded: Path, tiny_subject: Subject) -> None:
    runs = run_trajectories(folded, tiny_subject, SMALL, steps=4)
    assert [run.scheduler for run in runs] == list(SCHEDULERS)
    for run in runs:
        assert len(run.steps) >= 4  # PNDM warms up with one more
        assert run.guidance == 7.5
        assert run.passed
        assert run.ratio is not None
        assert run.ratio < 2
        timesteps = [step.timestep for step in run.steps]
        assert timesteps == sorted(timesteps, reverse=True)


def test_a_wrong_file_drifts_away(folded: Path, tiny_subject: Subject) -> None:
    fault = faults.zero_channel("up_blocks.2.resnets.1.conv2")
    wrong = faults.inject(folded, folded.with_name("drift.onnx"), fault)
    (run,) = run_trajectories(wrong, tiny_subject, SMALL, steps=10, schedulers=["euler"])
    assert not run.passed
    assert run.steps[0].rel_l2 < run.end.rel_l2


def test_without_a_floor_only_what_is_not_finite_fails(
    folded: Path, tiny_subject: Subject
) -> None:
    (run,) = run_trajectories(
        folded,
        tiny_subject,
        SMALL,
        steps=2,
        schedulers=["ddim"],
        guidance=1.0,
        floor=False,
    )
    assert (run.guidance, run.ratio, run.passed) == (1.0, None, True)


@pytest.fixture
def run(folded: Path, tiny_subject: Subject) -> Trajectory:
    (found,) = run_trajectories(folded, tiny_subject, SMALL, steps=3, schedulers=["dpm++"])
    return found


def test_the_plot_is_an_image_with_a_line_and_its_floor(run: Trajectory) -> None:
    text = plot([run, run], "drift & more $x$")
    space = {"": "http://www.w3.org/2000/svg"}
    root = ElementTree.fromstring(text)
    lines = [root.find(f".//g[@id='{gid}']/path", space) for gid in ("0 -", "0 --", "1 -")]
    assert [line.attrib["d"].count("L") for line in lines if line is not None] == [2, 2, 2]
    dashes = ["stroke-dasharray" in line.attrib["style"] for line in lines if line is not None]
    assert dashes == [False, True, False]
    said = [element.text for element in root.iterfind(".//text", space)]
    assert {"drift & more $x$", "step", run.scheduler} <= {*said}
    assert plot([run, run], "drift & more $x$") == text
