"""Every attention of a graph, and where its Q, K and V come from."""

from __future__ import annotations

from dataclasses import dataclass

from viewer.model.sizes import Shape
from viewer.model.tree import Node, Tree
from viewer.numbers import count

_OTHERS = ("text_encoder", "image_decoder")
ATTENTION_ROLES = ("cross_attention", "self_attention", "joint_attention", "image_prompt")


@dataclass(frozen=True)
class Attention:
    """One attention with where its operands come from.

    Attributes:
        node: The operator.
        call: The module around it that holds its projections; the operator if there is none.
        role: One of ``ATTENTION_ROLES``.
        heads: Number of heads; None when the file does not say.
        head_dim: Channels of one head.
        operands: Shapes of Q, K and V.
        sources: Graph inputs that Q, K and V depend on.
        out: Shape of the result.
    """

    node: int
    call: int
    role: str
    heads: int | None
    head_dim: int | None
    operands: tuple[Shape | None, Shape | None, Shape | None]
    sources: tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]
    out: Shape | None


def attentions(tree: Tree) -> tuple[Attention, ...]:
    """Every attention: the innermost nodes that carry heads, or the operators themselves."""
    found = []
    for node in tree.nodes:
        if not attends(node):
            continue
        names = (*node.inputs[:3], -1, -1, -1)[:3]
        values = [tree.values[v] if v >= 0 else None for v in names]
        shapes = tuple(v.shape if v is not None else None for v in values)
        sources = tuple(
            tuple(part for part in node.metadata.get(f"atlas.{key}", "").split(",") if part)
            for key in "qkv"
        )
        flows = [v.flow if v is not None else "" for v in values]
        if flows[1] == "prompt" and flows[0] != "image":
            continue  # a reference image on its way to tokens: the image does not ask here
        guessed = "cross_attention" if flows[1] == "text" else "self_attention"
        role = node.role if node.role in ATTENTION_ROLES else guessed
        found.append(
            Attention(
                node.id,
                _module_call(tree, node),
                role,
                _number(node, "atlas.heads", "q_num_heads"),
                _number(node, "atlas.head_dim", ""),
                shapes,  # type: ignore[arg-type]
                sources,  # type: ignore[arg-type]
                tree.values[node.outputs[0]].shape if node.outputs else None,
            )
        )
    return tuple(found)


def attends(node: Node) -> bool:
    """Whether a node is the operator of an attention; a Softmax where it is spelled out.

    Those of a text encoder or a decoder, in the file of a whole pipeline, are not the U's.
    """
    if node.role in _OTHERS:
        return False
    told = "atlas.q" in node.metadata or "atlas.heads" in node.metadata
    return not node.children and (told or node.op == "Attention")


def _module_call(tree: Tree, node: Node) -> int:
    """The innermost call or group around an operator."""
    chain = tree.ancestors(node)
    return chain[-1].id if chain else node.id


def _number(node: Node, key: str, attribute: str) -> int | None:
    return count(str(node.metadata.get(key, node.attributes.get(attribute, ""))))
