"""An outcome as JUnit XML: one test case for each parity case and each sampling run."""

from __future__ import annotations

from xml.etree import ElementTree

from exporter.parity.outcome import Outcome
from exporter.parity.render.words import drift, searched


def junit(outcome: Outcome) -> str:
    """What CI systems read as test results; the search's findings are in each failure."""
    found = list(searched(outcome))
    failed = sum(not result.passed for result in outcome.report.cases)
    failed += sum(not run.passed for run in outcome.trajectories)
    suite = ElementTree.Element(
        "testsuite",
        name=f"parity of {outcome.file}",
        tests=str(len(outcome.report.cases) + len(outcome.trajectories)),
        failures=str(failed),
        time=f"{outcome.seconds:.3f}",
    )
    for result in outcome.report.cases:
        seconds = result.torch_seconds + result.ort_seconds
        case = _case(suite, "parity", result.name, seconds)
        _say(case, result.verdict, passed=result.passed, more=found)
    for run in outcome.trajectories:
        case = _case(suite, "trajectory", run.scheduler, 0.0)
        _say(case, drift(run), passed=run.passed, more=[])
    root = ElementTree.Element("testsuites")
    root.append(suite)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _case(
    suite: ElementTree.Element, group: str, name: str, seconds: float
) -> ElementTree.Element:
    return ElementTree.SubElement(
        suite, "testcase", classname=group, name=name, time=f"{seconds:.3f}"
    )


def _say(case: ElementTree.Element, text: str, *, passed: bool, more: list[str]) -> None:
    if passed:
        ElementTree.SubElement(case, "system-out").text = text
        return
    failure = ElementTree.SubElement(case, "failure", message=text)
    failure.text = "\n".join([text, *more])
