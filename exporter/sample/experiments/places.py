"""Module paths as people shorten them, and what is said of those that fit nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from exporter.errors import UsageError
from exporter.sample.experiments.wish import ALL, KINDS, Wish, nearest


def fits(place: str, module: str) -> bool:
    """Whether a module is the place, lies inside it, or is it with its middle left out.

    ``up_blocks.1.attn2`` fits ``up_blocks.1.attentions.0.transformer_blocks.0.attn2``: the
    parts come in the same order, the first one first. A name and the number behind it are
    one part; a name alone means every number.
    """
    if place == ALL:
        return True
    wanted, parts = _parts(place), _parts(module)
    if not _same(wanted[0], parts[0]):
        return False
    rest = iter(parts)
    return all(any(_same(want, part) for part in rest) for want in wanted)


def chosen(wish: Wish, known: Sequence[str], roles: Mapping[str, str]) -> list[int]:
    """Which of the places of a kind a wish means, by index.

    Args:
        wish: What was asked for.
        known: Module path of each place of that kind.
        roles: Role of every module of the file.

    Raises:
        UsageError: None of them: no such module, or one of another kind.
    """
    found = [index for index, module in enumerate(known) if fits(wish.place, module)]
    if found:
        return found
    what = f"{wish.kind}:{wish.place}"
    if not known:
        raise UsageError(what, f"a model in which there is {KINDS[wish.kind]}")
    role = roles.get(wish.place) or next(
        (role for module, role in roles.items() if fits(wish.place, module)), None
    )
    if role is None:
        raise UsageError(f"{what}: no such module", do=nearest(wish.place, list(known)))
    told = role.replace("_", " ")
    raise UsageError(f"{what}: a {told}", KINDS[wish.kind], nearest(wish.place, list(known)))


def _same(wanted: str, part: str) -> bool:
    return wanted in (part, part.partition(".")[0])


def _parts(path: str) -> list[str]:
    found: list[str] = []
    for name in path.split("."):
        if name.isdigit() and found:
            found[-1] += f".{name}"
        else:
            found.append(name)
    return found
