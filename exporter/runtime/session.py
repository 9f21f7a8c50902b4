"""The written file in ONNX Runtime: opened by path, fed, and asked where it really runs."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy.typing as npt
import onnx
import onnxruntime
import torch

from exporter.errors import ParityError, ProviderError, UsageError
from exporter.runtime.providers import EXECUTION_PROVIDERS, HEAVY, Obtained, choose, silent
from exporter.types import Provider

_ABSENT = re.compile(r'External data path does not exist: "?([^"]+)')
_CUT = re.compile(r"External initializer: (\S+) offset: .* out of bounds")

Array = npt.NDArray[Any]

_TORCH_TYPES: Mapping[str, torch.dtype] = {
    "tensor(float)": torch.float32,
    "tensor(double)": torch.float64,
    "tensor(float16)": torch.float16,
    "tensor(bfloat16)": torch.bfloat16,
    "tensor(int64)": torch.int64,
    "tensor(int32)": torch.int32,
    "tensor(bool)": torch.bool,
}


@dataclass(frozen=True)
class Placement:
    """How many nodes of the graph each provider was given.

    Attributes:
        nodes: Node count by provider name; empty where this ONNX Runtime does not tell.
        heavy: The same for operators that hold the arithmetic.
        fallen_back: Heavy nodes on the CPU although CUDA was obtained, as ``op name``.
    """

    nodes: Mapping[str, int] = field(default_factory=dict)
    heavy: Mapping[str, int] = field(default_factory=dict)
    fallen_back: tuple[str, ...] = ()


@dataclass(frozen=True)
class Session:
    """One open ONNX Runtime session.

    Attributes:
        raw: The session.
        provider: What it obtained.
        note: A remark on that choice.
        placement: Where its nodes run.
    """

    raw: Any
    provider: Obtained
    note: str
    placement: Placement

    def run(self, inputs: Mapping[str, torch.Tensor]) -> dict[str, Array]:
        """Run once.

        Args:
            inputs: Tensors by conventional name; cast to what the file declares, and reshaped
                where the file wants ``timestep`` in another rank.

        Returns:
            Every graph output by name; bfloat16 as float32.

        Raises:
            ParityError: If ONNX Runtime cannot compute the graph on these inputs.
            UsageError: If the file has an input without a conventional name or type.
        """
        optional = self.raw.get_overridable_initializers()
        wanted = [*self.raw.get_inputs(), *(s for s in optional if s.name in inputs)]
        feeds = {spec.name: ort_value(adapt(spec, inputs)) for spec in wanted}
        names = [spec.name for spec in self.raw.get_outputs()]
        try:
            values = self.raw.run_with_ort_values(names, feeds)
        except Exception as error:  # the binding raises one class per status code
            text = " ".join(str(error).split()).rpartition("FAIL : ")[2]
            raise ParityError(f"ONNX Runtime cannot run the graph: {text[:400]}") from error
        return {name: _array(value) for name, value in zip(names, values, strict=True)}


def open_session(
    model: Path | bytes,
    provider: Provider,
    *,
    weights_folder: Path | None = None,
    optimize: bool = True,
    in_order: bool = False,
    prepack: bool = True,
) -> Session:
    """Open a file, or an edited copy of one in memory, for checking.

    Args:
        model: Path of the file; or a serialised model, whose external weights then lie in
            ``weights_folder``.
        provider: ``cuda`` that ends up elsewhere is an error; ``auto`` says what it took.
        weights_folder: See ``model``.
        optimize: ONNX Runtime's own graph optimisations, as users run it.
        in_order: Run nodes in the order of the graph. By default ONNX Runtime walks back from
            the outputs, which keeps what is only measured alive until the end.
        prepack: Lay matrices out anew for their kernels. ONNX Runtime then drops the
            originals, but keeps those in the body of a ``Loop``.

    Raises:
        ProviderError: If the provider cannot be had, or cannot run an operator of the file.
        UsageError: If the file is not one that ONNX Runtime can load.
    """
    obtained, note = choose(provider)
    options = _options(optimize, weights_folder)
    options.add_session_config_entry("session.disable_prepacking", "0" if prepack else "1")
    if in_order:
        options.execution_order = onnxruntime.ExecutionOrder.PRIORITY_BASED
    names: list[Any] = [EXECUTION_PROVIDERS["cpu"]]
    if obtained == "cuda":  # TF32 off here as in torch: it costs 1e-3 a layer
        names.insert(0, (EXECUTION_PROVIDERS["cuda"], {"use_tf32": "0"}))
    try:
        with silent():
            raw = onnxruntime.InferenceSession(
                model if isinstance(model, bytes) else str(model), options, providers=names
            )
    except Exception as error:  # the binding raises one class per status code
        raise _load_failure(error, model, obtained) from error
    if EXECUTION_PROVIDERS[obtained] not in raw.get_providers():
        raise ProviderError(
            f"asked ONNX Runtime for {obtained} and got {', '.join(raw.get_providers())}",
            do="use --provider cpu",
        )
    placement = _placement(raw, obtained)
    if provider == "cuda" and placement.fallen_back:
        listed = ", ".join(placement.fallen_back[:5])
        raise ProviderError(
            f"{len(placement.fallen_back)} heavy nodes fell back to the CPU: {listed}",
            "every heavy node on CUDA",
            "use --provider cpu, another --dtype, or another --opset",
        )
    return Session(raw, obtained, note, placement)


def _options(optimize: bool, weights_folder: Path | None) -> Any:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.enable_mem_pattern = False  # every case has its own shapes
    options.enable_cpu_mem_arena = False  # an arena never gives memory back
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # a shared CI
    if not optimize:
        level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.graph_optimization_level = level
    options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    if weights_folder is not None:
        key = "session.model_external_initializers_file_folder_path"
        options.add_session_config_entry(key, str(weights_folder))
    return options


def _load_failure(error: Exception, model: Path | bytes, provider: str) -> Exception:
    text = " ".join(str(error).split())
    name = model.name if isinstance(model, Path) else "the edited copy"
    if "NOT_IMPLEMENTED" in text or "NotImplemented" in type(error).__name__:
        what = text.split(":", 3)[-1].strip()[:200]
        return ProviderError(
            f"ONNX Runtime's {provider} provider cannot run {name}: {what}",
            do="run with --provider cuda on a machine that has one, "
            "check a --dtype fp32 export of the same weights, or use --no-check",
        )
    if absent := _ABSENT.search(text):
        return UsageError(f"{name} reads its weights from {absent[1]}, which is not there")
    if cut := _CUT.search(text):
        return UsageError(f"the file that {name} reads {cut[1]} from is cut short")
    return UsageError(f"ONNX Runtime cannot load {name}: {text[:400]}")


def _placement(raw: Any, obtained: Obtained) -> Placement:
    if not hasattr(raw, "get_provider_graph_assignment_info"):
        return Placement()
    nodes: Counter[str] = Counter()
    heavy: Counter[str] = Counter()
    fallen: list[str] = []
    for part in raw.get_provider_graph_assignment_info():
        for node in part.get_nodes():
            nodes[part.ep_name] += 1
            if node.op_type not in HEAVY:
                continue
            heavy[part.ep_name] += 1
            if obtained == "cuda" and part.ep_name == EXECUTION_PROVIDERS["cpu"]:
                fallen.append(f"{node.op_type} {node.name}")
    return Placement(dict(nodes), dict(heavy), tuple(fallen))


def adapt(spec: Any, inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """One input in the element type and rank that the file declares for it.

    Args:
        spec: ORT's ``NodeArg``.
        inputs: Tensors by conventional name.

    Raises:
        UsageError: If the file has an input without a conventional name or type.
    """
    if spec.name not in inputs:
        raise UsageError(
            f"the file has an input {spec.name!r}", f"only {', '.join(inputs)}", "rename it"
        )
    if spec.type not in _TORCH_TYPES:
        raise UsageError(
            f"input {spec.name!r} is {spec.type}", "a tensor of numbers or truth values"
        )
    tensor = inputs[spec.name].to(_TORCH_TYPES[spec.type])
    if spec.name == "timestep" and tensor.numel() == 1:
        batched = any("batch" in str(axis).lower() or axis == "B" for axis in spec.shape)
        tensor = tensor.reshape([1] * len(spec.shape))
        tensor = tensor.expand(inputs["sample"].shape[0]) if batched else tensor
    return tensor.contiguous()


def ort_value(tensor: torch.Tensor) -> Any:
    """A tensor on the CPU as ONNX Runtime takes it, bfloat16 included."""
    if tensor.dtype is torch.bfloat16:  # numpy has no such type
        raw = tensor.view(torch.uint16).numpy()
        return onnxruntime.OrtValue.ortvalue_from_numpy_with_onnx_type(
            raw, onnx.TensorProto.BFLOAT16
        )
    return onnxruntime.OrtValue.ortvalue_from_numpy(tensor.numpy())


def _array(value: Any) -> Array:
    if value.data_type() == "tensor(bfloat16)":
        tensor: Array = torch.utils.dlpack.from_dlpack(value).float().cpu().numpy()
        return tensor
    array: Array = value.numpy()
    return array


def input_types(session: Session) -> dict[str, str]:
    """Declared element type of each graph input, e.g. ``{"timestep": "tensor(int64)"}``."""
    return {spec.name: spec.type for spec in session.raw.get_inputs()}


def output_names(session: Session) -> Sequence[str]:
    """Names of the graph outputs in order."""
    return [spec.name for spec in session.raw.get_outputs()]
