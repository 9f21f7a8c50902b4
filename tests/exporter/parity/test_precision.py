import pytest
import torch

from exporter.parity.precision import ComputeIn, HalfStorage


def test_parameters_and_explicit_casts_are_computed_in_the_asked_dtype():
    layer = torch.nn.Linear(3, 2)
    x = torch.randn(4, 3)
    with torch.no_grad(), ComputeIn(torch.float64):
        y = layer(x).float()
        assert torch.arange(3, dtype=torch.float32).dtype is torch.float64
    expected = x.double() @ layer.weight.double().T + layer.bias.double()
    assert y.dtype is torch.float64
    torch.testing.assert_close(y, expected, rtol=1e-14, atol=1e-14)
    assert layer.weight.dtype is torch.float32


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_storage_rounds_between_calls_and_not_inside(dtype):
    x = torch.full((1, 4096), 0.1, dtype=dtype)
    layer = torch.nn.Linear(4096, 1, bias=False, dtype=dtype)
    layer.weight.data.fill_(0.1)
    with torch.no_grad(), HalfStorage():
        y = layer(x)
        wide = y.float() + 0.001
        mixed = x * torch.full((1,), 2.0)
    assert y.dtype is dtype
    exact = float(x.double() @ layer.weight.detach().double().T)
    assert float(y.detach()) == pytest.approx(exact, rel=torch.finfo(dtype).eps)
    assert wide.dtype is torch.float32
    assert mixed.dtype is torch.float32  # PyTorch's promotion


def test_integers_stay_integers():
    with ComputeIn(torch.float64):
        table = torch.nn.functional.embedding(torch.tensor([1]), torch.eye(2))
    assert table.dtype is torch.float64
    assert table.tolist() == [[0.0, 1.0]]
