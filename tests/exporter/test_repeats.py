"""Which modules may share a trace: those that nothing tells apart but their weights."""

from collections import Counter

import pytest
import torch
from diffusers.models.attention_processor import Attention, AttnProcessor2_0

from exporter import repeats


class Scaled(AttnProcessor2_0):
    """Like an IP-Adapter's processor, whose ``scale`` is a list."""

    def __init__(self, scale):
        super().__init__()
        self.scale = scale

    def __call__(self, *args, **kwargs):
        return super().__call__(*args, **kwargs) * self.scale[0]


class Nested:
    def __init__(self, inner):
        self.inner = inner


class Slotted:
    __slots__ = ("inner",)

    def __init__(self, inner):
        self.inner = inner


@pytest.fixture
def marks(monkeypatch):
    """``marks(module)`` -> how many of each marker a call of it leaves."""
    found = Counter()

    def record(name, inputs, attributes, shape, dtype):
        found[name] += 1
        return inputs[0]

    monkeypatch.setattr(repeats, "_symbol", record)

    def marks(module):
        repeats.mark_repeats(module)
        module(torch.zeros(1, 3, 8))
        return found

    return marks


def _attentions(*processors):
    return torch.nn.Sequential(
        *(Attention(8, heads=2, dim_head=4, processor=one) for one in processors)
    )


def test_processors_of_one_state_share_a_trace(marks):
    found = marks(_attentions(Scaled([0.5]), Scaled([0.5]), Scaled([0.5])))
    assert found == {"Enter": 1, "Leave": 1, "Repeat": 2}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ([0.5], [0.25]),
        ([1], [True]),
        ({0: 0.5}, {0: 0.25}),
        ([Nested([0.5])], [Nested([0.25])]),
        ([torch.tensor(0.5)], [torch.tensor(0.5)]),
        ([Slotted(0.5)], [Slotted(0.5)]),
    ],
)
def test_processors_that_differ_are_traced_apart(one, other):
    first, second = _attentions(Scaled(one), Scaled(other))
    assert repeats._kind(first) != repeats._kind(second)


def test_a_scale_of_its_own_is_traced(marks):
    assert marks(_attentions(Scaled([0.5]), Scaled([0.25]))) == {}


def test_what_holds_itself_is_no_endless_search():
    processor = Scaled([0.5])
    processor.itself = processor
    first, second = _attentions(processor, processor)
    assert repeats._kind(first) != repeats._kind(second)


def test_a_constant_outside_the_checkpoint_is_traced_apart():
    first, second = _attentions(Scaled([0.5]), Scaled([0.5]))
    for module in (first, second):
        module.register_buffer("kernel", torch.ones(2), persistent=False)
    assert repeats._kind(first) != repeats._kind(second)
