"""Every row of the table, in the order in which one round runs them."""

from __future__ import annotations

from collections.abc import Iterable

from bench_tools.peer import Peer
from bench_tools.peers import (
    atlas,
    model_explorer,
    onnxsim,
    onnxslim,
    optimum,
    tensorboard,
    torch_dynamo,
    torch_legacy,
    torchviz,
)

PEERS: tuple[Peer, ...] = (
    atlas.PROVEN,
    atlas.VIEWER,
    model_explorer.PEER,
    atlas.UNCHECKED,
    atlas.COPIED,
    atlas.PACKED,
    atlas.FLAT,
    optimum.VALIDATED,
    optimum.UNCHECKED,
    torch_legacy.PEER,
    torch_dynamo.PEER,
    onnxsim.PEER,
    onnxslim.PEER,
    tensorboard.PEER,
    torchviz.PEER,
)


def chosen(only: Iterable[str]) -> tuple[Peer, ...]:
    """The peers of those names and what they build on; all, if none is named.

    Raises:
        ValueError: There is no such peer.
    """
    names = set(only)
    known = {peer.name: peer for peer in PEERS}
    unknown = names - known.keys()
    if unknown:
        raise ValueError(f"no peer {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    if not names:
        return PEERS
    names |= {source for name in names if (source := known[name].source)}
    return tuple(peer for peer in PEERS if peer.name in names)
