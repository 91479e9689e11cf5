"""Rules that tell the task of a prompt, each of them readable, and an answer that names those that fitted."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from companyos.config import parse_yaml
from companyos.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

__all__ = ("Classification", "Classifier", "TaskRulesError")

LONGEST_PROMPT = 4_000
"""Characters of a prompt that are looked at; what is asked stands at its beginning or its end."""
_Words = tuple[Annotated[str, Field(min_length=1, max_length=80)], ...]


class TaskRulesError(ConfigError):
    """A file of rules that tell the task of a prompt does not validate."""

    code = "llm.task_rules"


class _Rule(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    task: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")
    weight: int = Field(ge=1, le=10)
    opens: _Words = ()
    has: _Words = ()

    @model_validator(mode="after")
    def _says_something(self) -> _Rule:
        if bool(self.opens) == bool(self.has):
            raise ValueError("a rule says either what a prompt opens with or what it has")
        return self


class _Rules(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    rules: tuple[_Rule, ...] = Field(min_length=1)
    courtesies: _Words = ()


@dataclass(frozen=True, slots=True)
class Classification:
    """What the rules say of a prompt."""

    task: str | None
    """The task; None where no rule fits or two tasks score the same: then the caller has to say it."""
    scores: dict[str, int]
    """Score of each task that any rule spoke for."""
    matched: tuple[str, ...]
    """The words that fitted, each with its task and weight."""


class Classifier:
    """Tells the task of a prompt by rules.

    Raises:
        TaskRulesError: the rules do not validate.
    """

    def __init__(self, values: Any) -> None:
        try:
            rules = _Rules.model_validate(values)
        except ValidationError as error:
            found = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()[:5])
            raise TaskRulesError(
                "the rules of tasks do not validate", got=found, expected="rules, courtesies"
            ) from error
        self._courtesies = _pattern(rules.courtesies, opens=True)
        self._rules = [
            (rule.task, rule.weight, _pattern(rule.opens or rule.has, opens=bool(rule.opens))) for rule in rules.rules
        ]

    @classmethod
    def load(cls, path: Path) -> Classifier:
        """Read a file of rules; raises as said above, also if it cannot be read."""
        try:
            return cls(parse_yaml(path.read_text(encoding="utf-8"), path.name))
        except (OSError, UnicodeDecodeError) as error:
            raise TaskRulesError(f"cannot read the rules of tasks {path.name}", got=error) from error

    @classmethod
    def shipped(cls) -> Classifier:
        """The rules for planning, coding and review that are shipped; for prompts in English."""
        return _shipped()

    def classify(self, prompt: str) -> Classification:
        """What the rules say; every word counts once, however often it occurs."""
        text = self._bared(" ".join(prompt[:LONGEST_PROMPT].lower().split()))
        scores: dict[str, int] = {}
        matched = []
        for task, weight, pattern in self._rules:
            for word in sorted({match[0].strip() for match in pattern.finditer(text)}):
                scores[task] = scores.get(task, 0) + weight
                matched.append(f"{word}: {task} +{weight}")
        best = sorted(scores, key=lambda task: -scores[task])
        clear = best and (len(best) == 1 or scores[best[0]] > scores[best[1]])
        return Classification(best[0] if clear else None, scores, tuple(matched))

    def _bared(self, text: str) -> str:
        while (match := self._courtesies.match(text)) and match.end():
            text = text[match.end() :].lstrip(" ,:!")
        return text


@cache
def _shipped() -> Classifier:
    text = files("companyos.llm.tasks").joinpath("rules.yaml").read_text(encoding="utf-8")
    return Classifier(parse_yaml(text, "rules.yaml"))


def _pattern(words: Iterable[str], *, opens: bool) -> re.Pattern[str]:
    parts = "|".join(re.escape(word.lower()).replace(r"\*", r"\w*") for word in words)
    if not parts:
        return re.compile(r"(?!)")
    start = r"\A" if opens else r"(?<!\w)"
    return re.compile(rf"{start}(?:{parts})(?!\w)")
