"""The convolutions of a ControlNet that is a file by itself: what it hands to a UNet."""

from __future__ import annotations

from viewer.model.tree import Node, Tree
from viewer.model.unet import Block, Part

ROLE = "zero_convolution"


def zero_convolutions(tree: Tree) -> tuple[Block, ...]:
    """One box for each level, the deepest first, as a UNet's way up would come to them.

    Each convolution is a piece of its box. In a file of one output, a UNet's, there is none:
    there a ControlNet stands beside the U.
    """
    if len(tree.outputs) < 2:
        return ()
    levels: dict[int, list[Node]] = {}
    for identifier in tree.top:
        node = tree.nodes[identifier]
        if node.role == ROLE and node.op == "Conv":
            levels.setdefault(node.level or 0, []).append(node)
    return tuple(_block(tree, level, levels[level]) for level in sorted(levels, reverse=True))


def _block(tree: Tree, level: int, nodes: list[Node]) -> Block:
    return Block(
        "zero",
        tuple(node.id for node in nodes),
        level,
        tree.values[nodes[-1].outputs[0]].shape,
        tuple(Part(node.id, ROLE) for node in nodes),
        sum(node.params for node in nodes),
        sum(node.flops or 0 for node in nodes),
    )
