"""Goals and the profile, from rounds made up here."""

from __future__ import annotations

import json

import pytest

from bench_tools import profile, table
from bench_tools.goals import Goal, _seconds, goals
from bench_tools.result import Result, Row
from bench_tools.roster import PEERS

KNOWN = {peer.name: peer for peer in PEERS}


def _result(subject, **rounds):
    rows = (
        Row(KNOWN[name.replace("_", "-")], {}, tuple(measured), {})
        for name, measured in rounds.items()
    )
    return Result(subject, "abc", {"processor": "x"}, (0.5,), 1.0, tuple(rows))


def _round(wall=11.0, memory=0.7e9, operators=800.0, **more):
    return {"wall": wall, "memory": memory, "operators": operators, **more}


def test_a_goal_is_met_exactly_at_its_limit():
    assert Goal("t", 12.0, _seconds, "why", (12.0,)).verdict == "met"


def test_nothing_is_rounded_in_our_favour():
    goal = Goal("t", 12.0, _seconds, "see there", (12.001,))
    assert (goal.measured, goal.met) == ("12.01 s", False)
    assert goal.verdict == "missed by 0.01 s (0.1 %): see there"


def test_our_export_alone_answers_its_goals():
    """What ``--only atlas-unchecked`` measures; no peer to stand beside."""
    result = _result("sdxl", atlas_unchecked=[_round(26.0, 0.9e9, 2093.0, latency=1.0)])
    found = {goal.title: goal for goal in goals(result)}
    assert [goal.met for goal in found.values()] == [False, True, None, None]
    assert not any("nodes" in title for title in found)  # that goal is dropped
    assert found["one step, linked, to the best peer's"].verdict == "not measured"
    text = table.markdown(result)
    assert (
        "| export, linked, --no-check | 25.00 s | 26.00 s | missed by 1.00 s (4.0 %)" in text
    )


def test_the_best_peer_is_the_one_to_beat():
    result = _result(
        "tiny",
        atlas=[_round(latency=2.0, session=4.0), _round(latency=2.1, session=4.0)],
        atlas_packed=[_round(latency=1.9, session=2.0), _round(latency=1.9, session=2.0)],
        optimum=[_round(latency=3.0, session=3.0), _round(latency=3.0, session=3.0)],
        torch_legacy=[_round(latency=2.0, session=5.0), _round(latency=2.0, session=5.0)],
    )
    step, packed, session, session_packed = goals(result)
    assert step.beside == "of torch.onnx, dynamo=False"
    assert step.values == pytest.approx((1.0, 1.05))
    assert step.measured.startswith("×1.025 (×1.000 to ×1.050)")
    assert step.verdict.startswith("missed by 0.025 (2.5 %)")
    assert packed.met
    assert session.beside == "of Optimum-ONNX"
    assert session.verdict.startswith("missed by 0.334 (33.4 %)")
    assert session_packed.met
    json.dumps([goal.to_json() for goal in goals(result)])


def test_the_profile_adds_up():
    stages = {"stage.imports": 3.0, "stage.trace": 6.0}
    result = _result(
        "sd15", atlas_unchecked=[_round(10.0, **stages), _round(12.0, **stages)], optimum=[{}]
    )
    (found,) = profile.profiles(result)
    assert found.seconds == {"imports": 3.0, "trace": 6.0, profile.REST: 2.0}
    assert found.wall == 11.0
    assert "| trace | 6.00 |" in profile.markdown([found])
    assert profile.markdown([]) == []
