"""ONNX Runtime's own optimiser of UNets, fed a graph that holds no weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnx.numpy_helper
from onnxruntime.transformers.fusion_options import FusionOptions
from onnxruntime.transformers.onnx_model_unet import UnetOnnxModel

Value = tuple[int, Sequence[int | str]]  # element type and shape

_STANDS_IN = (1, 4)
"""Ranks of parameters that the optimiser may take for initializers: biases, scales, kernels.

It asks what shape they have. Matrices stay inputs to it: what it does with those (packing Q, K
and V) needs, copies and renames their values.
"""


class UnetModel(UnetOnnxModel):  # type: ignore[misc]  # no stubs
    """``onnxruntime.transformers``' UNet with other answers to what it asks of a model.

    - *Initializers*: a parameter of ours is a graph input; a stand-in of NaNs answers for it.
      A fusion that would copy values fails the parity check loudly.
    - *Shapes* are those of our graph, where every value has one. Its own symbolic inference
      may take two sizes for one (the batch and the count of timesteps), and prints.
    - ``NhwcConv`` turns its kernel by a Transpose, which is folded when the file is loaded,
      instead of storing it again.

    Args:
        model: Parameters are inputs.
        parameters: Their types and shapes by name.
        values: Those of every value of the graph.
    """

    def __init__(
        self,
        model: onnx.ModelProto,
        parameters: Mapping[str, Value],
        values: Mapping[str, Value],
    ) -> None:
        self.parameters, self.values = parameters, values
        super().__init__(model)

    def get_initializer(self, name: str) -> Any:  # noqa: D102
        kind, shape = self.parameters.get(name, (0, ()))
        if len(shape) not in _STANDS_IN:
            return super().get_initializer(name)
        dtype = onnx.helper.tensor_dtype_to_np_dtype(kind)
        return onnx.numpy_helper.from_array(
            np.full([int(size) for size in shape], np.nan, dtype), name
        )

    def get_dtype(self, name: str, symbolic_shape_helper: Any = None) -> int | None:  # noqa: D102
        origin = name.rpartition("_out-")[2]  # a Transpose that was just put after it
        return self.values[origin][0] if origin in self.values else None

    def infer_runtime_shape(self, *_: Any, **__: Any) -> UnetModel:  # noqa: D102
        return self

    def get_edge_shape(self, name: str) -> list[int | str] | None:
        """The shape of a value by name; None for one that a fusion just made."""
        return list(self.values[name][1]) if name in self.values else None

    def remove_useless_cast_nodes(self) -> None:
        """There are none, and it asks the inference that we replace."""

    def convert_conv_to_nhwc(self) -> None:  # noqa: D102
        from onnxruntime.transformers.fusion_nhwc_conv import FusionNhwcConv

        FusionNhwcConv(self, update_weight=False).apply()

    def optimize(self, options: Any = None) -> None:
        """Every fusion that ``options`` allow, without its progress bar."""
        self._optimize(options)


def options(fusions: Sequence[str]) -> Any:
    """``FusionOptions`` with nothing on but ``enable_<name>`` for the names given."""
    wanted = FusionOptions("unet")
    for name in [key for key in vars(wanted) if key.startswith("enable_")]:
        setattr(wanted, name, name.removeprefix("enable_") in fusions)
    return wanted
