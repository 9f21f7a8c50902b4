"""What differs between two models: modules, operators, shapes; weights on request."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from viewer.errors import LocationError
from viewer.model.atlas import Atlas
from viewer.model.moved import moved, row
from viewer.model.tree import Node, Weight


def compare(a: Atlas, b: Atlas) -> dict[str, Any]:
    """Aligns two hierarchies by deep link and tells what differs, without reading weights.

    Args:
        a: The first model.
        b: The second model.

    Returns:
        ``nodes``: path to ``only_a``, ``only_b`` or ``changed`` with the differing facts;
        ``operators``: operator to its two counts, where they differ; ``config``: diffusers
        config keys to their two values, where they differ; ``same``: number of equal nodes.
    """
    left, right = a.tree.by_path, b.tree.by_path
    nodes: dict[str, Any] = {}
    same = 0
    for path in [*left, *(path for path in right if path not in left)]:
        if path not in right:
            nodes[path] = {"status": "only_a"}
        elif path not in left:
            nodes[path] = {"status": "only_b"}
        else:
            facts = _differences(_facts(a, left[path]), _facts(b, right[path]))
            if facts:
                nodes[path] = {"status": "changed", "facts": facts}
            else:
                same += 1
    counts = (_operators(a), _operators(b))
    keys = sorted(counts[0].keys() | counts[1].keys())
    return {
        "nodes": nodes,
        "same": same,
        "operators": {
            op: [counts[0][op], counts[1][op]] for op in keys if counts[0][op] != counts[1][op]
        },
        "config": _differences(dict(a.config), dict(b.config)),
        "totals": {"params": [a.params, b.params], "flops": [a.flops, b.flops]},
    }


def _facts(atlas: Atlas, node: Node) -> dict[str, Any]:
    values = atlas.tree.values
    return {
        "op": node.op,
        "role": node.role,
        "class": node.cls,
        "inputs": [list(values[v].shape or ()) for v in node.inputs if v >= 0],
        "outputs": [list(values[v].shape or ()) for v in node.outputs],
        "weights": [[w.dtype, *w.shape] for w in node.weights],
        "constants": {w.name: list(w.values) for w in node.weights if w.values},
        "attributes": dict(node.attributes),
        "params": node.params,
    }


def _differences(a: dict[str, Any], b: dict[str, Any]) -> dict[str, list[Any]]:
    keys = [*a, *(key for key in b if key not in a)]
    return {key: [a.get(key), b.get(key)] for key in keys if a.get(key) != b.get(key)}


def _operators(atlas: Atlas) -> Counter[str]:
    return Counter(node.op for node in atlas.tree.leaves)


def weights(
    a: Atlas, b: Atlas, on_done: Callable[[int], None] = lambda _: None
) -> dict[str, Any]:
    """Compares every weight that has the same place in both: bytes by SHA-256, and distance.

    Both files are read in pieces of 1 MiB, so memory stays small whatever they weigh.

    Args:
        a: The first model.
        b: The second model.
        on_done: Called with the number of bytes read so far.

    Returns:
        ``different``: paths of operators whose weights differ; ``equal``: how many do not;
        ``moved``: for every weight that was read its ``path``, ``name``, whether it is
        ``different``, and the fields of ``Moved``; ``unreadable``: weights that could not be
        read, with the reason.
    """
    result: dict[str, Any] = {"different": [], "equal": 0, "unreadable": [], "moved": []}
    done = 0
    for path, pair in _pairs(a, b):
        try:
            found = moved((a, b), pair)
        except LocationError as error:
            result["unreadable"].append([path, str(error)])
            continue
        done += sum(weight.length for weight in pair)
        on_done(done)
        result["moved"].append(row(path, pair[0].name, found))
        if found.equal:
            result["equal"] += 1
        else:
            result["different"].append(path)
    return result


def _pairs(a: Atlas, b: Atlas) -> Iterator[tuple[str, tuple[Weight, Weight]]]:
    for node in a.tree.leaves:
        other = b.tree.by_path.get(node.path)
        if other is None:
            continue
        for left, right in zip(node.weights, other.weights, strict=False):
            if left.location and right.location and left.shape == right.shape:
                yield node.path, (left, right)
