"""Words of the prompt: more, less or no attention, or what another one says.

A word that is scaled by f has f added to its scores as ln f before the softmax, in every
cross-attention or in those that are named, so that the other words share what it loses. At 0
that is -10,000, what diffusers adds where ``encoder_attention_mask`` is 0
(``UNet2DConditionModel.forward``).

Attention does not know the order of its keys: where words change places as a whole, nothing
changes. So a swap exchanges their values alone: a pixel looks for each word where it did, and
is told what the other one says.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import onnx_ir as ir
import torch

from exporter.errors import UsageError
from exporter.sample.experiments.aim import Aim
from exporter.sample.experiments.edit import INPUT, Feeds, typed_like
from exporter.sample.experiments.wish import Wish, nearest
from exporter.sample.prompts import Word
from exporter.sample.scope import Scope, Scopes

MASKED = -10_000.0
BIAS, ORDER = f"{INPUT}.words", f"{INPUT}.order"


@dataclass(frozen=True)
class Said:
    """What the words of a wish are in the prompt that is drawn.

    Attributes:
        wish: What was asked for.
        tokens: Positions of the word; of a swap, those of the first word.
        others: Of a swap, those of the second word.
    """

    wish: Wish
    tokens: tuple[int, ...]
    others: tuple[int, ...] = ()


@dataclass(frozen=True)
class Text:
    """Which words the prompt has.

    Attributes:
        rows: R, of which the last one is the prompt's.
        tokens: S.
        words: Of the prompt.
    """

    rows: int
    tokens: int
    words: tuple[Word, ...]

    def split(self, place: str) -> tuple[str, str]:
        """``WORD/MODULE`` as two; all of it is the word where the prompt has such a word."""
        if any(known.text == place.lower() for known in self.words):
            return place, ""
        word, slash, module = place.rpartition("/")
        return (word, module) if slash and word else (place, "")

    def find(self, word: str, where: str) -> tuple[int, ...]:
        """Positions of a word, wherever it stands.

        Raises:
            UsageError: The prompt has no such word.
        """
        found = [
            at for known in self.words if known.text == word.lower() for at in known.tokens
        ]
        if not found:
            known = list(dict.fromkeys(known.text for known in self.words))
            raise UsageError(
                f"{where}: no word {word!r} in the prompt", do=nearest(word, known)
            )
        return tuple(found)


@dataclass(frozen=True)
class _Together:
    """Words that are treated alike in the same cross-attentions, all by one input.

    Attributes:
        said: Which, by how much and when.
        text: The prompt.
        aim: Where.
        number: Of several such edits, each in another place; 0 for everywhere.
    """

    said: tuple[Said, ...]
    text: Text
    aim: Aim
    number: int = 0

    @property
    def wishes(self) -> Sequence[Wish]:
        """In the order asked for."""
        return [said.wish for said in self.said]

    def modules(self) -> Sequence[str]:
        """Every cross-attention, or those that are named."""
        return self.aim.modules()


class Scaled(_Together):
    """Words that get more or less attention."""

    @property
    def _input(self) -> str:
        return f"{BIAS}.{self.number}" if self.number else BIAS

    def apply(self, scopes: Scopes) -> None:
        """Adds what is fed to the scores of the cross-attentions, or of one head of each."""
        for attention in self.aim.attentions:
            node, scope = scopes.before(attention.node)
            bias = scopes.feed(self._input, ir.DataType.FLOAT, ("R", 1, 1, "S"), scope)
            if self.aim.head is not None:
                ours = self.aim.is_head(scope, attention, (1, 1))
                bias = scope.op("Where", [ours, bias, scope.number(0)])
            add_to_scores(scope, node, bias)

    def feeds(self, active: Collection[Wish]) -> Feeds:
        """(R, 1, 1, S), 0 but for the words in the prompt's row."""
        bias = torch.zeros(self.text.rows, self.text.tokens)
        for said in self.said:
            if said.wish in active:
                (factor,) = said.wish.factors
                added = max(MASKED, math.log(factor)) if factor else MASKED
                bias[-1, list(said.tokens)] += added
        return {self._input: bias[:, None, None].clamp(min=MASKED)}


class Swapped(_Together):
    """Words whose values change places."""

    def apply(self, scopes: Scopes) -> None:
        """Gathers the values of every cross-attention in the order that is fed."""
        for attention in self.aim.attentions:
            node, index = mixing(scopes.at(attention.node)[0])
            _, scope = scopes.before(node.name or "")
            order = scopes.feed(ORDER, ir.DataType.INT64, ("R", "S", 1), scope)
            v = node.inputs[index]
            assert v is not None
            tokens_first = "q_num_heads" in node.attributes  # (B, S, C), not (B, heads, S, d)
            turn = {"perm": [0, 2, 1, 3]}
            moved = v if tokens_first else scope.op("Transpose", [v], v.dtype, **turn)
            moved = scope.op("GatherND", [moved, order], v.dtype, batch_dims=1)
            moved = moved if tokens_first else scope.op("Transpose", [moved], v.dtype, **turn)
            moved.shape = v.shape
            node.replace_input_with(index, moved)

    def feeds(self, active: Collection[Wish]) -> Feeds:
        """(R, S, 1) positions: each its own, but for the words in the prompt's row."""
        order = torch.arange(self.text.tokens).repeat(self.text.rows, 1)
        for said in self.said:
            if said.wish in active:
                one, other = list(said.tokens), list(said.others)
                order[-1, one + other] = order[-1, other + one]
        return {ORDER: order[..., None]}


def mixing(node: ir.Node) -> tuple[ir.Node, int]:
    """Where the values of an attention are mixed: the node, and which operand they are."""
    if node.op_type == "Attention":
        return node, 2
    while node.op_type != "MatMul":
        (node,) = {usage.node for usage in node.outputs[0].uses()}
    return node, 1


def add_to_scores(scope: Scope, node: ir.Node, bias: ir.Value) -> None:
    """Adds (R, 1, 1, S), or the like of each head, to the scores of an attention.

    Args:
        scope: Where the attention is, nodes being added before it.
        node: An ``Attention``, or the Softmax of a decomposed one.
        bias: float32.
    """
    q = node.inputs[0]
    assert q is not None
    bias = typed_like(scope, bias, q)
    if node.op_type == "Softmax":
        scores = scope.op("Add", [q, bias], q.dtype)
        scores.shape = q.shape
        node.replace_input_with(0, scores)
        return
    axis = 1 if "q_num_heads" in node.attributes else 2  # where q has its pixels
    pixels = scope.op("Shape", [q], ir.DataType.INT64, start=axis, end=axis + 1)
    one = scope.ints(1)
    size = scope.op("Concat", [one, one, pixels, one], ir.DataType.INT64, axis=0)
    mask = scope.op("Expand", [bias, size], q.dtype)  # ONNX Runtime wants it for every pixel
    node.resize_inputs(max(4, len(node.inputs)))
    before = node.inputs[3]  # of another experiment
    mask = scope.op("Add", [before, mask], q.dtype) if before is not None else mask
    node.replace_input_with(3, mask)
