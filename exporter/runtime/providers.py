"""Which execution provider ONNX Runtime can really use here, and why not the other."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import platform
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import onnx
import onnx.parser
import onnxruntime
import torch

from exporter.errors import ProviderError
from exporter.types import Dtype, Provider

Obtained = Literal["cpu", "cuda"]

EXECUTION_PROVIDERS: Mapping[Obtained, str] = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
}

HEAVY = frozenset(
    {
        "Attention",
        "Conv",
        "ConvTranspose",
        "FusedConv",
        "FusedMatMul",
        "Gemm",
        "GroupNorm",
        "GroupNormalization",
        "InstanceNormalization",
        "LayerNormalization",
        "MatMul",
        "MultiHeadAttention",
        "NhwcConv",
        "SkipGroupNorm",
        "SkipLayerNormalization",
        "Softmax",
    }
)
"""Operators that hold a UNet's arithmetic; ORT keeps shape arithmetic on the CPU by design."""

_WARNING, _FATAL = 2, 4  # ORT's log severities; 2 is its default


def choose(requested: Provider) -> tuple[Obtained, str]:
    """What a session will use, before a large file is loaded for it.

    Args:
        requested: ``auto`` takes CUDA where it works, else the CPU.

    Returns:
        The provider and one remark, e.g. why ``auto`` took the CPU.

    Raises:
        ProviderError: If ``cuda`` was requested and ONNX Runtime cannot use it.
    """
    if requested == "cpu":
        return "cpu", ""
    reason = cuda_problem()
    if not reason:
        return "cuda", ""
    if requested == "auto":
        return "cpu", f"CUDA not used: {reason}"
    raise ProviderError(
        f"ONNX Runtime cannot use CUDA: {reason} ({versions_line()})",
        "a CUDA session",
        "install what is missing or use --provider cpu",
    )


@functools.cache
def cuda_problem() -> str:
    """Why a CUDA session cannot be had, or an empty string where one can.

    ONNX Runtime falls back to the CPU with only a log line, so a session of one node is made
    and asked what it got.
    """
    if EXECUTION_PROVIDERS["cuda"] not in onnxruntime.get_available_providers():
        return f"{onnxruntime.package_name} {onnxruntime.__version__} is built without CUDA"
    with silent():
        preload = getattr(onnxruntime, "preload_dlls", None)
        if preload is not None:
            with contextlib.suppress(OSError), contextlib.redirect_stdout(None):
                preload()  # CUDA and cuDNN from pip packages, if installed
        try:
            names = list(EXECUTION_PROVIDERS.values())[::-1]
            probe = onnxruntime.InferenceSession(_identity(), providers=names)
        except Exception as error:  # the binding raises bare RuntimeError kinds
            return str(error).splitlines()[0][:200]
    if EXECUTION_PROVIDERS["cuda"] in probe.get_providers():
        return ""
    return _load_error() or "the provider was refused without a reason"


def require_dtype(obtained: Obtained, dtype: Dtype) -> None:
    """Refuse early what the provider has no kernels for, before PyTorch is asked anything.

    Args:
        obtained: The provider.
        dtype: Dtype of the file.

    Raises:
        ProviderError: If it cannot run a convolution in ``dtype``.
    """
    if dtype == "fp32" or obtained == "cuda":
        return
    try:
        with silent():
            onnxruntime.InferenceSession(
                _convolution(dtype), providers=[EXECUTION_PROVIDERS[obtained]]
            )
    except Exception as error:  # the binding raises one class per status code
        raise ProviderError(
            f"ONNX Runtime's {obtained} provider has no {dtype} convolution",
            "one that runs the file",
            "use --provider cuda on a GPU, check the --dtype fp32 export of the same weights, "
            "or pass --no-check",
        ) from error


def versions_line() -> str:
    """Driver, CUDA, cuDNN and packages, in one line for error messages and reports."""
    known = provider_versions()
    return ", ".join(f"{name} {value}" for name, value in known.items())


def provider_versions() -> dict[str, str]:
    """What decides whether CUDA works, by name."""
    cudnn: Any = torch.backends.cudnn
    return {
        onnxruntime.package_name: onnxruntime.__version__,
        "its CUDA": getattr(onnxruntime, "cuda_version", "") or "none",
        "driver": _driver(),
        "torch": torch.__version__,
        "torch's CUDA": torch.version.cuda or "none",
        "torch's cuDNN": str(cudnn.version() if cudnn.is_available() else "none"),
    }


@contextlib.contextmanager
def silent() -> Iterator[None]:
    """Keeps ONNX Runtime's own log off the terminal: we say what matters ourselves."""
    onnxruntime.set_default_logger_severity(_FATAL)
    try:
        yield
    finally:
        onnxruntime.set_default_logger_severity(_WARNING)


@contextlib.contextmanager
def without_tf32() -> Iterator[None]:
    """Full float32 in torch's CUDA matmuls and convolutions, as in our ORT sessions."""
    matmul: Any = torch.backends.cuda.matmul
    cudnn: Any = torch.backends.cudnn
    before = matmul.allow_tf32, cudnn.allow_tf32
    matmul.allow_tf32 = cudnn.allow_tf32 = False
    try:
        yield
    finally:
        matmul.allow_tf32, cudnn.allow_tf32 = before


def _identity() -> bytes:
    return _probe("[1]", "Identity (x)", "float", 17)


def _convolution(dtype: Dtype) -> bytes:
    kind = {"fp32": "float", "fp16": "float16", "bf16": "bfloat16"}[dtype]
    return _probe("[1,1,4,4]", "Conv (x, x)", kind, 22)


def _probe(shape: str, expression: str, kind: str, opset: int) -> bytes:
    text = f"""<ir_version: 10, opset_import: ["" : {opset}]>
    probe ({kind}{shape} x) => ({kind} y) {{ y = {expression} }}"""
    return bytes(onnx.parser.parse_model(text).SerializeToString())


def _load_error() -> str:
    """What the dynamic linker says when ORT's CUDA library is loaded."""
    folder = Path(onnxruntime.__file__).parent / "capi"
    name, shared = (f"libonnxruntime_providers_{part}.so" for part in ("cuda", "shared"))
    if platform.system() != "Linux" or not (folder / name).exists():
        return ""
    try:
        ctypes.CDLL(str(folder / shared), mode=ctypes.RTLD_GLOBAL)
        ctypes.CDLL(str(folder / name))
    except OSError as error:
        return str(error).split(": cannot open")[0] + " cannot be loaded"
    return "its libraries load, but no usable GPU was found"


def _driver() -> str:
    version = Path("/proc/driver/nvidia/version")
    try:
        first = version.read_text(encoding="utf-8").splitlines()[0]
    except (OSError, IndexError):
        return "none found"
    words = first.split()
    return next((word for word in words if word[0].isdigit() and "." in word), first)
