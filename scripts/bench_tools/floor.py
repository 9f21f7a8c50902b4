"""How far a graph is from the fewest nodes that its architecture can have.

Counts what the module tree needs at least, one node for each convolution, linear map, norm,
activation, attention and join, and sets the exported flat graph beside it. No weights are
needed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import onnx_ir as ir
import torch

from exporter.architecture import Run, build
from exporter.metadata import CLASS, ROLE
from exporter.plan import DEFAULT_OPSET
from exporter.source import load_source
from exporter.types import quiet
from exporter.weights.unet import build_unet

ASKED = (
    "convolution",
    "linear",
    "norm",
    "activation",
    "attention",
    "residual join",
    "skip join",
)
"""What the floor is made of."""

ALSO = ("time injection", "upsampling", "gate", "sinusoid")
"""What the equations contain besides; shown apart, so that nobody has to agree."""

_RESIDUAL = ("ResnetBlock2D", "BasicTransformerBlock", "Transformer2DModel", "Attention")
_OPERATORS = {
    "Conv": "convolution",
    "MatMul": "linear",
    "Gemm": "linear",
    "GroupNormalization": "norm",
    "LayerNormalization": "norm",
    "Swish": "activation",
    "Sigmoid": "activation",
    "Gelu": "activation",
    "Attention": "attention",
    "Resize": "upsampling",
    "Sin": "sinusoid",
    "Cos": "sinusoid",
}


@dataclass(frozen=True)
class Floor:
    """One architecture's count.

    Attributes:
        name: Preset.
        needed: Fewest nodes by kind, from the module tree.
        found: Nodes of the exported flat graph by the same kinds.
        rest: All its other nodes, by what they are.
    """

    name: str
    needed: Mapping[str, int]
    found: Mapping[str, int]
    rest: Mapping[str, int]

    @property
    def asked(self) -> int:
        """The floor."""
        return sum(self.needed.get(kind, 0) for kind in ASKED)

    @property
    def equations(self) -> int:
        """The floor with everything else that the equations contain."""
        return self.asked + sum(self.needed.get(kind, 0) for kind in ALSO)

    @property
    def nodes(self) -> int:
        """Nodes of the graph, weight Transposes left out."""
        counted = sum(self.found.values()) + sum(self.rest.values())
        return counted - self.rest.get("weight Transpose", 0)


def measure(preset: str) -> Floor:
    """Counts both sides for a preset."""
    source = load_source(preset)
    graph = build(source, "fp32", DEFAULT_OPSET, (), Run(quiet))
    found, rest = classify(graph.model, set(graph.parameters))
    return Floor(preset, needed(build_unet(source)), found, rest)


def needed(unet: torch.nn.Module) -> Counter[str]:
    """Fewest nodes by kind, from the tree of modules.

    A linear map counts as one node with its bias. The activation of the time embedding that
    every resnet applies to the same vector counts once.
    """
    count: Counter[str] = Counter()
    for path, module in unet.named_modules():
        rule = _RULES.get(type(module).__name__)
        if rule is not None:
            count.update(rule(module))
        if path.startswith("up_blocks.") and type(module).__name__ == "ResnetBlock2D":
            count["skip join"] += 1  # every resnet on the way up takes one skip
    if getattr(unet, "conv_act", None) is not None:
        count["activation"] += 1
    if count["time injection"]:
        count["activation"] += 1
    return count


def classify(model: ir.Model, parameters: set[str]) -> tuple[Counter[str], Counter[str]]:
    """Nodes of a flat annotated graph by the floor's kinds, and the others by what they are.

    Args:
        model: Flat and annotated.
        parameters: Names of the values that are weights.
    """
    found: Counter[str] = Counter()
    rest: Counter[str] = Counter()
    for node in model.graph:
        stored = any(value is not None and value.name in parameters for value in node.inputs)
        kind = _kind(node, stored)
        if kind is not None:
            found[kind] += 1
        else:
            rest[_what(node, stored)] += 1
    return found, rest


def _kind(node: ir.Node, stored: bool) -> str | None:
    role, owner = node.metadata_props.get(ROLE), _owner(node)
    if node.op_type == "Add" and not stored:
        if role == "time_injection":
            return "time injection"
        return "residual join" if owner in _RESIDUAL else None
    if node.op_type == "Concat" and role == "skip":
        return "skip join"
    if node.op_type == "Mul" and owner == "GEGLU":
        return "gate"
    if owner == "Timesteps" and node.op_type in ("Mul", "Concat"):
        return "sinusoid"
    return _OPERATORS.get(node.op_type)


def _what(node: ir.Node, stored: bool) -> str:
    if node.op_type == "Transpose" and stored:
        return "weight Transpose"
    if node.op_type == "Add" and stored:
        return "bias of a MatMul"
    return f"{node.op_type} in {_owner(node) or 'the graph'}"


def _owner(node: ir.Node) -> str:
    return node.metadata_props.get(CLASS, "").rpartition(".")[2]


def _resnet(module: Any) -> dict[str, int]:
    injected = getattr(module, "time_emb_proj", None) is not None
    return {"activation": 2, "residual join": 1, "time injection": int(injected)}


def _attention(module: Any) -> dict[str, int]:
    return {"attention": 1, "residual join": int(bool(module.residual_connection))}


def _transformer_block(module: Any) -> dict[str, int]:
    attentions = sum(getattr(module, name, None) is not None for name in ("attn1", "attn2"))
    return {"residual join": attentions + 1}


_RULES: Mapping[str, Callable[[Any], dict[str, int]]] = {
    "Conv2d": lambda _: {"convolution": 1},
    "Linear": lambda _: {"linear": 1},
    "GroupNorm": lambda _: {"norm": 1},
    "LayerNorm": lambda _: {"norm": 1},
    "ResnetBlock2D": _resnet,
    "Attention": _attention,
    "BasicTransformerBlock": _transformer_block,
    "Transformer2DModel": lambda _: {"residual join": 1},
    "GEGLU": lambda _: {"activation": 1, "gate": 1},
    "Upsample2D": lambda _: {"upsampling": 1},
    "Timesteps": lambda _: {"sinusoid": 4},  # times the frequencies, sine, cosine, joined
    "TimestepEmbedding": lambda _: {"activation": 1},
}
