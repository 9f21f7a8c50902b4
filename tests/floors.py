"""Two backends compared as the product does: no farther from the truth than PyTorch is.

A fixed bound holds on one machine and breaks on the next, whose kernels round otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch

from exporter.parity.metrics import measure_floor

LIMIT = 3.0
"""Noise floors; honest files are at about one."""

Arrays = Sequence[Any]


class Floors:
    """Asserts, and tells the test's report how far inside the limit it was."""

    def __init__(self, properties: list[tuple[str, object]]) -> None:
        self._properties = properties

    def check(self, ours: Any, theirs: Any, truth: Any, limit: float = LIMIT) -> None:
        """Arrays or tensors of one shape; ``truth`` is PyTorch's in float64."""
        arrays = [np.asarray(_plain(values)) for values in (ours, theirs, truth)]
        assert arrays[0].shape == arrays[2].shape
        assert arrays[2].std() > 0
        floor = measure_floor(*arrays, float(np.finfo(np.float32).eps))
        assert floor is not None
        worst = max(floor.ratio, floor.max_ratio)
        self._properties.append(("floors", worst / limit))
        assert worst < limit

    def check_each(
        self, ours: Arrays, theirs: Arrays, truth: Arrays, limit: float = LIMIT
    ) -> None:
        """Many small arrays, each over its own truth's size, judged as one.

        Alone, two numbers may be exact by chance, and their floor nothing.
        """
        sizes = [np.sqrt(np.mean(np.square(_plain(values)))) for values in truth]
        joined = [
            np.concatenate([np.ravel(_plain(v)) / s for v, s in zip(some, sizes, strict=True)])
            for some in (ours, theirs, truth)
        ]
        self.check(*joined, limit=limit)


@pytest.fixture
def floors(request: pytest.FixtureRequest) -> Floors:
    """Compares backends by the noise floor."""
    return Floors(request.node.user_properties)


def _plain(values: Any) -> Any:
    return values.detach().numpy() if isinstance(values, torch.Tensor) else values
