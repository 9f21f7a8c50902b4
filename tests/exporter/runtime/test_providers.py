import onnxruntime
import pytest
import torch

from exporter.errors import ProviderError
from exporter.runtime import providers
from exporter.runtime.providers import choose, require_dtype, versions_line, without_tf32

NO_CUDA = bool(providers.cuda_problem())


@pytest.mark.skipif(not NO_CUDA, reason="this machine has a CUDA that ONNX Runtime can use")
def test_cuda_that_cannot_be_used_is_explained_with_versions() -> None:
    with pytest.raises(ProviderError, match="ONNX Runtime cannot use CUDA") as caught:
        choose("cuda")
    assert onnxruntime.__version__ in str(caught.value)
    assert "driver" in str(caught.value)
    assert caught.value.exit_code == 2


@pytest.mark.skipif(not NO_CUDA, reason="this machine has a CUDA that ONNX Runtime can use")
def test_auto_takes_the_cpu_and_says_why() -> None:
    obtained, note = choose("auto")
    assert obtained == "cpu"
    assert providers.cuda_problem() in note


def test_auto_takes_cuda_where_it_works(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(providers, "cuda_problem", lambda: "")
    assert choose("auto") == ("cuda", "")
    assert choose("cpu") == ("cpu", "")


def test_the_cpu_runs_fp16_and_refuses_bf16_early() -> None:
    require_dtype("cpu", "fp32")
    require_dtype("cpu", "fp16")
    with pytest.raises(ProviderError, match="no bf16 convolution"):
        require_dtype("cpu", "bf16")


def test_tf32_is_off_inside_and_restored_after() -> None:
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = True
    try:
        with without_tf32():
            assert not torch.backends.cuda.matmul.allow_tf32
        assert torch.backends.cuda.matmul.allow_tf32
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before


def test_versions_are_one_line() -> None:
    assert "\n" not in versions_line()
    assert torch.__version__ in versions_line()
