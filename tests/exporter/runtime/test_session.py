from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx.parser
import pytest
import torch

from exporter.errors import ParityError, UsageError
from exporter.runtime import session
from exporter.runtime.session import adapt, open_session


def _model(text: str) -> bytes:
    return bytes(onnx.parser.parse_model(text).SerializeToString())


ADD = """<ir_version: 10, opset_import: ["" : 20]>
g (float[B,2] sample, float timestep) => (float[B,2] out_sample) {
  out_sample = Add (sample, timestep)
}"""


def test_a_session_says_where_its_nodes_run() -> None:
    opened = open_session(_model(ADD), "cpu")
    assert opened.provider == "cpu"
    assert opened.placement.nodes == {"CPUExecutionProvider": 1}
    assert opened.placement.heavy == {}
    out = opened.run({"sample": torch.ones(3, 2), "timestep": torch.tensor(2.0)})
    np.testing.assert_array_equal(out["out_sample"], np.full((3, 2), 3.0))


def test_heavy_nodes_left_on_the_cpu_are_told() -> None:
    node = SimpleNamespace(op_type="Conv", name="conv_in")
    light = SimpleNamespace(op_type="Shape", name="shape")
    parts = [
        SimpleNamespace(ep_name="CPUExecutionProvider", get_nodes=lambda: [node, light]),
        SimpleNamespace(ep_name="CUDAExecutionProvider", get_nodes=lambda: [node]),
    ]
    raw = SimpleNamespace(get_provider_graph_assignment_info=lambda: parts)
    placed = session._placement(raw, "cuda")
    assert placed.fallen_back == ("Conv conv_in",)
    assert placed.nodes == {"CPUExecutionProvider": 2, "CUDAExecutionProvider": 1}
    assert session._placement(raw, "cpu").fallen_back == ()


def test_bfloat16_goes_in_and_comes_out() -> None:
    cast = """<ir_version: 10, opset_import: ["" : 20]>
    g (bfloat16[N] sample) => (bfloat16[N] out_sample) { out_sample = Identity (sample) }"""
    given = torch.tensor([1.5, -3.0, 1e30], dtype=torch.bfloat16)
    out = open_session(_model(cast), "cpu").run({"sample": given})
    assert out["out_sample"].dtype == np.float32
    np.testing.assert_array_equal(out["out_sample"], given.float().numpy())


@pytest.mark.parametrize(
    ("declared", "shape"),
    [(["batch"], (3,)), (["B"], (3,)), ([1], (1,)), (["steps"], (1,)), ([], ())],
)
def test_timestep_takes_the_rank_and_type_of_the_file(
    declared: list[object], shape: tuple[int, ...]
) -> None:
    spec = SimpleNamespace(name="timestep", type="tensor(int64)", shape=declared)
    given = {"sample": torch.zeros(3, 4, 8, 8), "timestep": torch.tensor(7.0)}
    made = adapt(spec, given)
    assert (made.shape, made.dtype) == (shape, torch.int64)


def test_an_input_without_a_conventional_name_is_refused() -> None:
    spec = SimpleNamespace(name="x", type="tensor(float)", shape=[])
    with pytest.raises(UsageError, match="input 'x'"):
        adapt(spec, {"sample": torch.zeros(1)})


def test_a_graph_that_stops_midway_is_a_parity_failure() -> None:
    concat = """<ir_version: 10, opset_import: ["" : 20]>
    g (float[A,B] sample, float[C,D] timestep) => (float[E,F] out_sample) {
      out_sample = Concat <axis = 0> (sample, timestep)
    }"""
    opened = open_session(_model(concat), "cpu")
    with pytest.raises(ParityError, match="Concat"):
        opened.run({"sample": torch.ones(1, 2), "timestep": torch.ones(1, 3)})


def test_a_file_that_cannot_be_loaded_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.onnx").write_bytes(b"nothing")
    with pytest.raises(UsageError, match=r"cannot load x\.onnx"):
        open_session(tmp_path / "x.onnx", "cpu")
