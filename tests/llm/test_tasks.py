"""Which task an untagged prompt is, and the figures of the labelled set; over the playbook's own routing file."""

from __future__ import annotations

import csv
import json
from collections import Counter
from pathlib import Path

import pytest

from companyos.cli import main
from companyos.llm.tasks import Classifier, TaskRulesError, is_held_out, labelled_set

ROUTING = """
weights: {cost: 0.4, latency: 0.3, accuracy: 0.3}
currency: USD
providers:
  openai:
    models: {planning: gpt-4o-mini, coding: gpt-4o, review: gpt-4o-mini}
    base_latency_ms: 800
    cost_per_1k_tokens: {gpt-4o-mini: 0.00015, gpt-4o: 0.0025}
  anthropic:
    models:
      planning: claude-3-5-sonnet-20241022
      coding: claude-3-5-sonnet-20241022
      review: claude-3-5-sonnet-20241022
    base_latency_ms: 1200
    cost_per_1k_tokens: {claude-3-5-sonnet-20241022: 0.003}
  local:
    models: {planning: local-llm, coding: local-llm, review: local-llm}
    base_latency_ms: 300
    cost_per_1k_tokens: {local-llm: 0.0}
task_types:
  planning: {preferred_provider: openai, fallback: local, max_tokens: 4000}
  coding: {preferred_provider: anthropic, fallback: openai, max_tokens: 16000}
  review: {preferred_provider: openai, fallback: local, max_tokens: 8000}
failover: {max_retries: 3, retry_delay_ms: 500, fallback_provider: local}
"""


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """`companyos llm` beside the playbook's routing file; gives status, stdout, stderr."""
    monkeypatch.chdir(tmp_path)
    Path("model_routing.yaml").write_text(ROUTING, encoding="utf-8")

    def call(*arguments):
        status = main(["llm", *arguments])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return call


def test_the_set_is_large_balanced_and_without_doubles():
    """At least 200 prompts, three tasks in equal shares in both halves, no prompt twice."""
    examples = labelled_set()
    held = Counter(example.task for example in examples if is_held_out(example))

    assert len(examples) >= 200
    assert len({example.prompt for example in examples}) == len(examples)
    assert {"planning", "coding", "review"} == set(held)
    assert min(held.values()) >= 30


def test_the_bars_are_met_on_the_half_held_out(run):
    """The command measures, writes both files with the playbook's columns, and they agree with what it says."""
    status, out, _ = run("evaluate", "--out", "metrics", "--json")
    said = json.loads(out)
    with Path("metrics/quality/model_routing_accuracy.csv").open(encoding="utf-8", newline="") as handle:
        rows = list(csv.DictReader(handle))
    with Path("metrics/performance/model_router_latency.csv").open(encoding="utf-8", newline="") as handle:
        times = list(csv.DictReader(handle))

    assert (0, True) == (status, said["met"])
    assert said["held_out"] >= 0.92
    assert ["timestamp", "task_type", "expected_provider", "actual_provider", "correct"] == list(rows[0])
    assert len(labelled_set()) == len(rows)
    assert {"openai", "anthropic"} == {row["expected_provider"] for row in rows}
    assert 0 < sum(row["correct"] == "false" for row in rows) < 0.08 * len(rows)
    assert ["p50", "p95", "p99"] == [row["percentile"] for row in times]


def test_rules_that_tell_nothing_do_not_meet_the_bar(run):
    """The figure can be missed: with a single rule most prompts go wrong, and the command exits 1."""
    Path("rules.yaml").write_text("rules: [{task: coding, weight: 1, has: [the, a]}]", encoding="utf-8")

    status, _, err = run("evaluate", "--rules", "rules.yaml")

    assert 1 == status
    assert "taken for coding" in err


@pytest.mark.parametrize("prompt", ["", "   ", "Bonjour", "?" * 10_000, "\x00", "a" * 1_000_000])
def test_what_no_rule_fits_is_not_guessed(prompt):
    """No task is an answer, too; the caller has to say it."""
    assert None is Classifier.shipped().classify(prompt).task


def test_two_tasks_alike_are_not_guessed():
    """A tie names no winner, and both scores."""
    rules = {"rules": [{"task": "a", "weight": 2, "has": ["x"]}, {"task": "b", "weight": 2, "has": ["y"]}]}
    found = Classifier(rules).classify("x and y")

    assert (None, {"a": 2, "b": 2}) == (found.task, found.scores)


def test_courtesies_do_not_hide_what_is_asked():
    """`Hi, could you please review …` opens with `review`."""
    assert "review" == Classifier.shipped().classify("Hi, could you please review this?").task


def test_the_command_says_by_which_words(run):
    """Every word that counted stands in the answer; exit 1 where the rules cannot tell."""
    status, out, _ = run("classify", "Review this pull request", "--json")
    assert (0, "review") == (status, json.loads(out)["task"])
    assert any(word.startswith("pull request: review") for word in json.loads(out)["matched"])

    assert 1 == run("classify", "Bonjour")[0]


@pytest.mark.parametrize(
    "values",
    [
        None,
        {},
        {"rules": []},
        {"rules": [{"task": "a", "weight": 1}]},
        {"rules": [{"task": "a", "weight": 0, "has": ["x"]}]},
        {"rules": [{"task": "a", "weight": 1, "has": ["x"], "opens": ["y"]}]},
        {"rules": [{"task": "a b", "weight": 1, "has": ["x"]}]},
    ],
)
def test_rules_that_do_not_hold_together_are_refused(values):
    """An empty or contradictory rule is an error with the place."""
    with pytest.raises(TaskRulesError):
        Classifier(values)
