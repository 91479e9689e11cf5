"""How well prompts are routed: each labelled prompt told apart and ranked for real, and how long that took."""

from __future__ import annotations

import csv
import io
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from companyos.llm.errors import UnknownTaskError
from companyos.llm.tasks.labelled import is_held_out

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from companyos.llm.router import ModelRouter
    from companyos.llm.tasks.classifier import Classifier
    from companyos.llm.tasks.labelled import Example

__all__ = ("ACCURACY_COLUMNS", "LATENCY_COLUMNS", "Evaluation", "Routed", "evaluate")

ACCURACY_COLUMNS = ("timestamp", "task_type", "expected_provider", "actual_provider", "correct")
LATENCY_COLUMNS = ("timestamp", "operation", "latency_ms", "percentile")
_PERCENTILES = (50, 95, 99)


@dataclass(frozen=True, slots=True)
class Routed:
    """What became of one labelled prompt."""

    at: datetime
    """When it was routed."""
    example: Example
    """The prompt and its label."""
    task: str | None
    """What the rules said it is."""
    expected: str
    """The provider that the routing file prefers for the label."""
    actual: str | None
    """The provider that would be asked first; None if nobody would."""
    seconds: float
    """How long rules and ranking took."""

    @property
    def is_correct(self) -> bool:
        """Whether task and provider are both right; the right provider for the wrong task does not count."""
        return self.task == self.example.task and self.actual == self.expected


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What became of all of them."""

    routed: tuple[Routed, ...]
    """In the order of the set."""

    def accuracy(self, *, held_out: bool) -> float:
        """The share that is correct, 0 to 1, of the half that the rules were made by or of the other."""
        half = [one for one in self.routed if is_held_out(one.example) is held_out]
        return sum(one.is_correct for one in half) / len(half) if half else 0.0

    def latency_ms(self, percentile: int) -> float:
        """How many milliseconds the slowest of that share took (nearest rank)."""
        times = sorted(one.seconds for one in self.routed)
        rank = max(1, -(-len(times) * percentile // 100))
        return times[rank - 1] * 1000

    def accuracy_csv(self) -> str:
        """One row for each prompt."""
        rows = [
            (_shown(one.at), one.example.task, one.expected, one.actual or "none", str(one.is_correct).lower())
            for one in self.routed
        ]
        return _csv(ACCURACY_COLUMNS, rows)

    def latency_csv(self) -> str:
        """One row for each percentile."""
        at = _shown(self.routed[-1].at)
        rows = [(at, "route", f"{self.latency_ms(share):.3f}", f"p{share}") for share in _PERCENTILES]
        return _csv(LATENCY_COLUMNS, rows)


def evaluate(
    router: ModelRouter,
    classifier: Classifier,
    examples: Iterable[Example],
    *,
    clock: Callable[[], float] = time.perf_counter,
) -> Evaluation:
    """Tell each prompt's task by the rules and rank the models for it; asks nobody.

    Raises:
        UnknownTaskError: the routing file lacks a task of the labels, or prefers nobody for it.
    """
    return Evaluation(tuple(_routed(router, classifier, example, clock) for example in examples))


def _routed(router: ModelRouter, classifier: Classifier, example: Example, clock: Callable[[], float]) -> Routed:
    expected = router.policy.task(example.task).preferred_provider
    if expected is None:
        raise UnknownTaskError("the routing file prefers nobody for this task", got=example.task)
    begun = clock()
    task = classifier.classify(example.prompt).task
    chain = () if task is None else router.decide(example.prompt, task=task).chain
    seconds = clock() - begun
    actual = chain[0].provider if chain else None
    return Routed(datetime.now(UTC), example, task, expected, actual, seconds)


def _shown(at: datetime) -> str:
    return f"{at:%Y-%m-%dT%H:%M:%S.%fZ}"


def _csv(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return out.getvalue()
