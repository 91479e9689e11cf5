"""Names that are a slip of the hand away from a popular package."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

__all__ = ("lookalike",)

_SHORTEST = 5


def lookalike(ecosystem: str, name: str) -> str | None:
    """The popular package that `name` could be taken for; None if there is none, or if it is popular itself.

    One edit away counts: a sign added, left out, changed, or two neighbours swapped; and the same letters with other
    separators. Names shorter than five signs are not judged, they lie too close together.
    """
    popular = _popular()[ecosystem]
    if name in popular or len(name) < _SHORTEST:
        return None
    bare = _bare(name)
    for other in sorted(popular):
        if abs(len(other) - len(name)) <= 1 and len(other) >= _SHORTEST and _one_edit(name, other):
            return other
        if _bare(other) == bare and len(bare) >= _SHORTEST:
            return other
    return None


@cache
def _popular() -> dict[str, frozenset[str]]:
    text = files("companyos.guardrails").joinpath("data", "popular.txt").read_text(encoding="utf-8")
    found: dict[str, set[str]] = {"pypi": set(), "npm": set()}
    section = "pypi"
    for line in text.splitlines():
        if line.startswith("["):
            section = line.strip("[]")
        elif not line.startswith("#"):
            found[section].update(line.split())
    return {ecosystem: frozenset(names) for ecosystem, names in found.items()}


def _bare(name: str) -> str:
    return name.replace("-", "").replace("_", "").replace(".", "").replace("0", "o").replace("1", "l")


def _one_edit(left: str, right: str) -> bool:
    if len(left) > len(right):
        left, right = right, left
    start = next((i for i, (a, b) in enumerate(zip(left, right, strict=False)) if a != b), len(left))
    rest, other = left[start:], right[start:]
    if len(left) != len(right):
        return rest == other[1:]
    swapped = len(rest) > 1 and rest[:2] == other[1::-1] and rest[2:] == other[2:]
    return rest[1:] == other[1:] or swapped
