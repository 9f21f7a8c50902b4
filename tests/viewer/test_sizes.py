from __future__ import annotations

import pytest

from viewer.model.sizes import Nominal, flops


@pytest.mark.parametrize(
    ("dim", "number"),
    [(7, 7), ("B", 2), ("H", 33), ("H/2", 17), ("W/4", 9), ("HW/4", 17 * 18), ("S", 77),
     ("B*8", 16), ("2*B*H/2", 68), ("batch", 2), ("height", 33),
     ("HW/3", None), ("unk__0", None), ("H/0", None), (None, None), ("", None)],
)  # fmt: skip
def test_dimensions_at_a_size(dim, number):
    assert Nominal(batch=2, height=33, width=35).dim(dim) == number


@pytest.mark.parametrize(
    ("op", "inputs", "outputs", "attributes", "count"),
    [
        ("MatMul", [(2, 3, 4), (4, 5)], [(2, 3, 5)], {}, 2 * 30 * 4),
        ("Gemm", [(3, 4), (5, 4), (5,)], [(3, 5)], {"transB": 1}, 2 * 15 * 4),
        ("Gemm", [(4, 3), (4, 5)], [(3, 5)], {"transA": 1}, 2 * 15 * 4),
        ("Conv", [(1, 8, 6, 6), (16, 4, 3, 3)], [(1, 16, 6, 6)], {"group": 2}, 2 * 576 * 36),
        ("ConvTranspose", [(1, 4, 3, 3), (4, 8, 2, 2)], [(1, 8, 6, 6)], {}, 2 * 36 * 32),
        ("Attention", [(1, 10, 8), (1, 5, 8), (1, 5, 8)], [(1, 10, 8)], {}, 4 * 10 * 5 * 8),
        (
            "Attention",
            [(1, 2, 10, 4), (1, 2, 5, 4), None],
            [(1, 2, 10, 4)],
            {},
            4 * 10 * 5 * 8,
        ),
        ("Softmax", [(2, 3)], [(2, 3)], {}, 30),
        ("Add", [(2, 3), (3,)], [(2, 3)], {}, 6),
        ("Reshape", [None], [None], {}, 0),
        ("MatMul", [None, (4, 5)], [(2, 5)], {}, None),
        ("SomethingElse", [(1,)], [(1,)], {}, None),
    ],
)
def test_cost_of_an_operator(op, inputs, outputs, attributes, count):
    assert flops(op, inputs, outputs, attributes) == count
