"""The server's side of sampling: a process that is told, listened to, and ended."""

from __future__ import annotations

import json
import os
import time
from contextlib import suppress

import pytest

from tests.viewer import recorded
from tests.viewer.sampling_command import COMMAND
from tests.viewer.test_server import ask
from viewer.errors import SamplingBusyError, SamplingError
from viewer.model.recording import read_recording
from viewer.serve.order import read_order
from viewer.serve.sampling import KEPT, Sampler


@pytest.fixture
def sampler(tiny):
    made = Sampler([tiny], "a pipeline", COMMAND)
    yield made
    made.close()


@pytest.fixture
def server(serve, atlas, sampler):
    made = serve(atlas)
    made.sampler = sampler
    return made


def order(**asked):
    return read_order(asked, 1)


def until(sampler, good, seconds=60.0):
    """The newest run as soon as it is as wished."""
    end, seen = time.monotonic() + seconds, -1
    while time.monotonic() < end:
        state = sampler.state(seen, 1.0)
        seen = state["version"]
        if state["runs"] and good(state["runs"][-1]):
            return state["runs"][-1]
    raise AssertionError(f"never so: {sampler.state()}")


def over(run):
    return run["status"] in ("done", "failed", "cancelled")


def alive(pid):
    with suppress(ProcessLookupError):
        os.kill(pid, 0)
        return True
    return False


def post(server, what, body=None, token=None):
    headers = {"X-Atlas-Token": server.sampler.token if token is None else token}
    return ask(server, f"/sample/{what}", "POST", json.dumps(body or {}), **headers)


class TestSampler:
    def test_a_run_is_followed_step_by_step(self, sampler):
        assert sampler.begin(order(prompt="a red cat", seed="3", heads=True)) == 1
        seen = until(sampler, lambda run: run["done"] >= 2)
        assert seen["status"] in ("running", "done")
        assert seen["of"] == recorded.STEPS
        growing = read_recording(sampler.file(1))
        assert growing.steps == recorded.STEPS
        last = until(sampler, over)
        assert (last["status"], last["done"], last["error"]) == ("done", recorded.STEPS, "")
        given = read_recording(sampler.file(1)).metadata["run"]["given"]
        assert given == [
            *("--follow", "--pipeline=a pipeline", "--quiet"),
            *("--prompt=a red cat", "--seed=3", "--heads"),
        ]

    def test_a_recording_is_read_while_it_is_renamed(self, sampler):
        sampler.begin(order(prompt="wait"))
        until(sampler, lambda run: run["done"] == 2)
        sampler.file(1).rename(sampler._target(1))
        with sampler.open(1) as stream:
            assert len(stream.read(8)) == 8
        sampler._target(1).unlink()
        with pytest.raises(SamplingError, match="run 1 is gone"):
            sampler.open(1)

    def test_what_the_command_refuses_is_told_in_its_own_line(self, sampler):
        sampler.begin(order(steps="-1"))
        run = until(sampler, over)
        assert (run["status"], run["error"]) == ("failed", "--steps -1; expected 1 or more")
        with pytest.raises(SamplingError, match="no recording of run 1"):
            sampler.file(1)

    def test_one_run_at_a_time(self, sampler):
        sampler.begin(order(prompt="wait"))
        until(sampler, lambda run: run["done"] == 2)
        with pytest.raises(SamplingBusyError, match="a run is going on"):
            sampler.begin(order())

    @pytest.mark.parametrize("prompt", ["wait", "deaf"])
    def test_cancelling_leaves_no_process(self, sampler, prompt, monkeypatch):
        monkeypatch.setattr("viewer.serve.worker.PATIENCE", 0.3)
        sampler.begin(order(prompt=prompt))
        until(sampler, lambda run: run["done"] == 2)
        pid = sampler._worker.pid
        assert alive(pid)
        sampler.cancel()
        assert not alive(pid)
        assert until(sampler, over)["status"] == "cancelled"
        assert list(sampler._place().glob("*.safetensors")) == []
        assert list(sampler._place().glob(".*.tmp")) == []
        sampler.begin(order())
        assert until(sampler, over)["status"] == "done"

    def test_a_process_that_waits_is_used_and_ended(self, sampler):
        sampler.ready()
        sampler.ready()
        spare = sampler._spare.pid
        sampler.begin(order(prompt="wait"))
        assert sampler._worker.pid == spare
        until(sampler, lambda run: run["done"] == 2)
        sampler.cancel()
        sampler.ready()
        waiting = sampler._spare.pid
        place = sampler._place()
        sampler.close()
        assert not alive(waiting)
        assert not place.exists()

    def test_old_recordings_are_deleted(self, sampler):
        for made in range(1, KEPT + 2):
            sampler.begin(order())
            until(sampler, over)
            assert len(list(sampler._place().glob("*.safetensors"))) == min(made, KEPT)
        assert [run["number"] for run in sampler.state()["runs"]] == [2, 3, 4, 5]
        assert len(list(sampler._place().glob("*.safetensors"))) == KEPT

    def test_a_command_that_is_not_there(self, tiny):
        broken = Sampler([tiny], "", (COMMAND[0], "-c", "raise SystemExit(3)"))
        broken.begin(order())
        assert until(broken, over)["error"] == "sampling ended with code 3"
        broken.close()


@pytest.mark.parametrize(
    "asked",
    [
        *([], None, {"prompt": 3}, {"prompt": "x" * 3000}, {"prompt": "a\0b"}, {"model": 1}),
        *({"model": "0"}, {"vae": "/etc"}, {"scheduler": "../x"}, {"scheduler": "/tmp"}),
        *({"steps": "1001"}, {"steps": "1" * 5000}, {"without": "x"}, {"scale": [1]}),
        *({"without": ["x"] * 501}, {"swap": "a,b"}, {"freeu": [["1"]]}),
    ],
)
def test_odd_orders_are_refused(asked):
    with pytest.raises(SamplingError):
        read_order(asked, 1)


def test_no_text_can_be_another_option():
    asked = {"prompt": "--image=/etc/passwd", "without": ["--x"], "mask": ["a@1-5"]}
    given = order(**asked).arguments()
    assert given == ["--prompt=--image=/etc/passwd", "--without=--x", "--mask-token=a@1-5"]


class TestRoutes:
    def test_a_wrong_token_is_refused(self, server):
        for what in ("ready", "begin", "cancel"):
            for token in ("", "guess", "ü"):
                assert post(server, what, token=token)[0].status == 403
        assert server.sampler.state()["runs"] == []
        assert server.sampler._spare is None

    def test_a_second_run_is_refused_while_one_runs(self, server):
        assert post(server, "begin", {"prompt": "wait"})[0].status == 200
        answer, text = post(server, "begin", {"prompt": "b"})
        assert (answer.status, text) == (
            409,
            b"a run is going on; cancel it, or wait for its end",
        )
        assert post(server, "cancel")[0].status == 200
        assert until(server.sampler, over)["status"] == "cancelled"

    def test_the_recording_is_read_by_range(self, server):
        assert ask(server, "/sample/1/data", Range="bytes=0-7")[0].status == 404
        post(server, "begin", {"seed": "1"})
        until(server.sampler, over)
        answer, body = ask(server, "/sample/1/data", Range="bytes=0-7")
        assert (answer.status, len(body)) == (206, 8)
        _, state = ask(server, "/sample/state/0")
        assert json.loads(state)["runs"][0]["order"]["seed"] == "1"
        assert str(server.sampler._place()) not in state.decode()

    @pytest.mark.parametrize("body", ["{", "[]", '{"x": 1}', "[" * 90_000])
    def test_a_bad_order_is_one_line(self, server, body):
        headers = {"X-Atlas-Token": server.sampler.token}
        answer, text = ask(server, "/sample/begin", "POST", body, **headers)
        assert answer.status == 400
        assert text.count(b"\n") == 0

    def test_other_pages_and_long_orders_get_nothing(self, server):
        headers = {"X-Atlas-Token": server.sampler.token}
        foreign = {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "cors", **headers}
        assert ask(server, "/sample/begin", "POST", "{}", **foreign)[0].status == 403
        assert ask(server, "/sample/state/0", **foreign)[0].status == 403
        body = json.dumps({"prompt": "x" * (1 << 18)})
        assert ask(server, "/sample/begin", "POST", body, **headers)[0].status == 403

    def test_without_a_sampler_nothing_samples(self, serve, atlas):
        server = serve(atlas)
        assert ask(server, "/sample/state/0")[0].status == 404
        assert ask(server, "/sample/begin", "POST", "{}")[0].status == 404
        assert b'"sampling": null' in ask(server, "/")[1].replace(
            b'"sampling":null', b'"sampling": null'
        )
