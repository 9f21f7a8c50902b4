"""The places of a UNet that are measured, each named by the one node it belongs to."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Block:
    """A module whose result is measured.

    Attributes:
        node: Name of the node that computes the result; names are unique in a file.
        module: Module path.
        role: What the module as a whole is (docs/FORMAT.md, Roles).
        side: ``down``, ``mid``, ``up`` or empty.
        level: Resolution level of the result; None for none.
        shape: Of the result, sizes and symbols.
    """

    node: str
    module: str
    role: str
    side: str
    level: int | None
    shape: tuple[int | str, ...]


@dataclass(frozen=True)
class Residual:
    """An Add that puts what a module computed onto the trunk.

    Attributes:
        node: Name of the Add.
        module: The module that computed the branch; a ``Block`` of this path exists.
        role: Role of the branch.
        branch: Which operand it is, 0 or 1.
    """

    node: str
    module: str
    role: str
    branch: int


@dataclass(frozen=True)
class Injection:
    """A node that puts the time vector onto the image.

    Attributes:
        node: Name of the Add (or of the Mul of a scale and shift).
        module: The resnet it happens in.
        op: ``Add`` or ``Mul``.
        vector: Which operand is the vector, 0 or 1.
    """

    node: str
    module: str
    op: str
    vector: int


@dataclass(frozen=True)
class Skip:
    """A Concat that takes a skip connection.

    Attributes:
        node: Name of the Concat.
        id: Pair id, as in ``atlas.skip``.
        source: Module that produced the skip.
        module: Module that the Concat is in.
        skip: Which operand waited, 0 or 1.
    """

    node: str
    id: str
    source: str
    module: str
    skip: int


@dataclass(frozen=True)
class CrossAttention:
    """An attention from the image to the text; a self-attention is told in the same words.

    Attributes:
        node: Name of the ``Attention``, or of the Softmax of a decomposed one.
        module: Module path.
        side: ``down``, ``mid`` or ``up``.
        level: Resolution level of its queries.
        heads: Number of heads.
    """

    node: str
    module: str
    side: str
    level: int
    heads: int


@dataclass(frozen=True)
class Embedding:
    """The vector that every resnet receives.

    Attributes:
        node: Name of the node that computes it.
        width: Its length.
    """

    node: str
    width: int


@dataclass(frozen=True)
class Points:
    """Everything that is measured, each list in graph order.

    Attributes:
        blocks: Modules with their results.
        residuals: Adds onto the trunk.
        injections: Where the time enters.
        skips: Where skips arrive.
        attentions: Cross-attentions.
        embedding: The vector that every resnet receives, if there is one.
        selves: Self-attentions.
    """

    blocks: tuple[Block, ...]
    residuals: tuple[Residual, ...]
    injections: tuple[Injection, ...]
    skips: tuple[Skip, ...]
    attentions: tuple[CrossAttention, ...]
    embedding: Embedding | None
    selves: tuple[CrossAttention, ...] = ()
