"""Skip connections between operators, whatever level the file marks their ends at."""

from __future__ import annotations

from collections.abc import Iterator

from viewer.model.atlas import Atlas
from viewer.model.unet import Skip


def crossings(atlas: Atlas) -> Iterator[tuple[Skip, int, int]]:
    """Each skip with the value that crosses and the operator that reads it at the sink."""
    tree = atlas.tree
    for skip in atlas.skips:
        if skip.value is None:
            continue
        inside = {node.id for node in tree.inside(tree.nodes[skip.sink])}
        for reader in tree.consumers.get(skip.value, ()):
            if reader in inside:
                yield skip, skip.value, reader
                break
