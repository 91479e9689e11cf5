"""The labelled set: prompts with the task that they are, in two halves."""

from __future__ import annotations

import csv
import hashlib
import io
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

__all__ = ("Example", "is_held_out", "labelled_set")


@dataclass(frozen=True, slots=True)
class Example:
    """One labelled prompt."""

    task: str
    """What it is: `planning`, `coding` or `review`."""
    prompt: str
    """What somebody asks."""


@cache
def labelled_set() -> tuple[Example, ...]:
    """Every prompt of the shipped set, in its order."""
    text = files("companyos.llm.tasks").joinpath("prompts.csv").read_text(encoding="utf-8")
    return tuple(Example(row["task_type"], row["prompt"]) for row in csv.DictReader(io.StringIO(text)))


def is_held_out(example: Example) -> bool:
    """Whether a prompt is of the half that no rule was made by, told by the last bit of its SHA-256's first byte."""
    return bool(hashlib.sha256(example.prompt.encode()).digest()[0] & 1)
