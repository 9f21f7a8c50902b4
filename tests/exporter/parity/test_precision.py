import torch

from exporter.parity.precision import ComputeIn


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


def test_integers_stay_integers():
    with ComputeIn(torch.float64):
        table = torch.nn.functional.embedding(torch.tensor([1]), torch.eye(2))
    assert table.dtype is torch.float64
    assert table.tolist() == [[0.0, 1.0]]
