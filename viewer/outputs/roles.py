"""How roles look on paper: one name and one colour each, the same as in the page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from viewer.model.attention import ATTENTION_ROLES
from viewer.model.tree import Node, Tree


@dataclass(frozen=True)
class Look:
    """A role for people.

    Attributes:
        label: Its name in a legend.
        colour: ``#rrggbb``, dark enough for white text on it.
        short: One or two words for a narrow cell.
    """

    label: str
    colour: str
    short: str


PLAIN = Look("", "#5b6775", "")

# docs/FORMAT.md names the roles; viewer/web/page/atlas.css holds the same colours.
LOOKS: Mapping[str, Look] = {
    "time_embedding": Look("time embedding", "#96600a", "time"),
    "time_injection": Look("time injection", "#c2410c", "+ time"),
    "text": Look("text", "#7b2d8e", "text"),
    "cross_attention": Look("cross-attention", "#b0307a", "cross"),
    "self_attention": Look("self-attention", "#1d5fa8", "self"),
    "joint_attention": Look("joint attention", "#5a4fcf", "joint"),
    "image_prompt": Look("image prompt", "#9c4a12", "img"),
    "skip": Look("skip connection", "#00785a", "skip"),
    "condition": Look("condition", "#a3262f", "+ cond"),
    "control_image": Look("control image", "#8a2f4e", "ctrl"),
    "zero_convolution": Look("zero convolution", "#7a4a00", "zero"),
    "lora": Look("low-rank branch", "#0e6f86", "+ LoRA"),
    "resnet": Look("residual block", "#52606d", "res"),
    "feed_forward": Look("feed-forward", "#6b7280", "MLP"),
    "transformer": Look("transformer", "#667485", "tokens"),
    "downsample": Look("downsample", "#66670f", "down"),
    "upsample": Look("upsample", "#4a7310", "up"),
    "conv_in": Look("input convolution", "#334155", "in"),
    "conv_out": Look("output convolution", "#334155", "out"),
    "block": Look("block", "#3b4654", "block"),
    "shape": Look("shape", "#6f7885", "shape"),
}


ROLE_OF_FLOW = {
    "time": "time_embedding",
    "text": "text",
    "prompt": "image_prompt",
    "control": "control_image",
}
"""The role of what comes from outside the image, by its flow."""


def look(role: str) -> Look:
    """How a role looks; plain grey for one that docs/FORMAT.md does not know."""
    return LOOKS.get(role, PLAIN)


def tint(colour: str, strength: float) -> str:
    """A colour mixed with white: 0 is white, 1 the colour itself."""
    channels = (int(colour[at : at + 2], 16) for at in (1, 3, 5))
    return "#" + "".join(f"{round(255 - (255 - c) * strength):02x}" for c in channels)


def shown_role(tree: Tree, node: Node) -> str:
    """The role that a closed node is known for: a transformer, for its attention."""
    if node.role in ATTENTION_ROLES or node.kind == "op" or node.role == "block":
        return node.role
    inside = {member.role for member in tree.inside(node) if member.kind == "op"}
    for role in ("joint_attention", "cross_attention", "image_prompt", "self_attention"):
        if role in inside:
            return role
    if "time_injection" in inside:
        return "resnet"
    return node.role or (inside.pop() if len(inside) == 1 else "")
