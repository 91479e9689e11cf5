"""`companyos llm`: whom a prompt would go to and why, what models there are, and asking them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from companyos.cli.llm_prices import prices
from companyos.cli.llm_tasks import classify, evaluate
from companyos.cli.output import echo_json, echo_table, json_option
from companyos.company import Company

if TYPE_CHECKING:
    from collections.abc import Callable

    from companyos.llm import Completion, RouteDecision

__all__ = ("llm",)

_task = click.option("--task", required=True, help="Key of the task table.")
_feature = click.option("--feature", help="Path that pays: company/team/feature/run; default: the company.")
_tokens = click.option("--max-tokens", type=click.IntRange(1), help="Most tokens of the answer; default: the task's.")
_class = click.option("--data-class", help="Classification of what is in the prompt.")
_without = click.option("--without", multiple=True, help="A provider that is not to be asked; again for more.")


@click.group()
@click.option("--routing", type=click.Path(path_type=Path), help="The routing file; default: that of companyos.yaml.")
@click.pass_context
def llm(context: click.Context, routing: Path | None) -> None:
    """Route prompts to language models, within budget and residency."""
    company = context.with_resource(Company.open(Path.cwd()))
    if routing is not None:
        section = company.settings.llm.model_copy(update={"routing": routing.absolute()})
        company.settings = company.settings.model_copy(update={"llm": section})
    context.obj = company


@llm.command()
@_task
@click.option("--prompt", required=True, help="The prompt; `-` reads it from stdin.")
@_tokens
@_class
@_without
@_feature
@click.option("--dry-run", is_flag=True, help="Show the ranking, and ask nobody.")
@json_option
@click.pass_obj
def route(
    company: Company,
    *,
    task: str,
    prompt: str,
    max_tokens: int | None,
    data_class: str | None,
    without: tuple[str, ...],
    feature: str | None,
    dry_run: bool,
    as_json: bool,
) -> int:
    """Show whom a prompt goes to and why, and what became of it. Exits 1 if nobody may be asked."""
    text = _read(prompt)
    options: dict[str, Any] = {"max_tokens": max_tokens, "data_class": data_class, "without": without}
    if dry_run:
        decision = company.llm_planner.decide(text, task=task, **options)
        _show_decision(decision, as_json=as_json)
        return 0 if decision.chain else 1
    made = company.llm.route(text, task=task, feature=feature, **options)
    if as_json:
        echo_json(_completion(made) | {"decision": made.decision.to_dict()})
        return 0
    _show_decision(made.decision, as_json=False)
    _show_attempts(made)
    click.echo(made.text)
    return 0


@llm.command()
@click.argument("prompt")
@_task
@_tokens
@_class
@_without
@_feature
@click.option("--stream", is_flag=True, help="Show the answer as it comes.")
@json_option
@click.pass_obj
def ask(
    company: Company,
    *,
    prompt: str,
    task: str,
    max_tokens: int | None,
    data_class: str | None,
    without: tuple[str, ...],
    feature: str | None,
    stream: bool,
    as_json: bool,
) -> int:
    """Ask PROMPT (`-`: from stdin), and print the answer alone; cost and attempts go to stderr."""
    text = _read(prompt)
    options: dict[str, Any] = {
        "task": task,
        "max_tokens": max_tokens,
        "data_class": data_class,
        "without": without,
        "feature": feature,
    }
    made = _streamed(company, text, options, quiet=as_json) if stream else company.llm.route(text, **options)
    if as_json:
        echo_json(_completion(made))
        return 0
    click.echo("" if stream else made.text)
    _show_attempts(made)
    return 0


@llm.command()
@json_option
@click.pass_obj
def models(company: Company, as_json: bool) -> None:
    """List the models of the routing file: who has them, for which tasks, at which price."""
    policy = company.llm_planner.policy
    rows: list[dict[str, Any]] = [
        {
            "provider": name,
            "model": model,
            "tasks": sorted(task for task, found in route.models.items() if found == model),
            "cost_per_1k_tokens": None if price is None else format(price, "f"),
            "currency": policy.currency,
            "kind": setting.kind,
            "endpoint": setting.base_url,
        }
        for name, route in sorted(policy.providers.items())
        for setting in (policy.setting(name),)
        for model in sorted(set(route.models.values()))
        for price in (route.cost_per_1k_tokens.get(model),)
    ]
    if as_json:
        echo_json(rows)
        return
    headings = ("provider", "model", "tasks", "per 1k tokens", "kind", "endpoint")
    shown = [
        (
            *(one["provider"], one["model"], ", ".join(one["tasks"])),
            "unknown" if one["cost_per_1k_tokens"] is None else f"{one['cost_per_1k_tokens']} {one['currency']}",
            *(one["kind"], one["endpoint"]),
        )
        for one in rows
    ]
    echo_table(headings, shown)


def _read(prompt: str) -> str:
    return sys.stdin.read() if prompt == "-" else prompt


def _streamed(company: Company, text: str, options: dict[str, Any], *, quiet: bool) -> Completion:
    from companyos.llm import PartialAnswerError

    made: Completion | None = None
    try:
        for event in company.llm.stream(text, **options):
            made = event.completion or made
            if event.text and not quiet:
                click.echo(event.text, nl=False)
            if event.kind == "switched":
                click.echo(f"[continued by {event.provider}]", err=True)
    except PartialAnswerError:
        click.echo("", nl=not quiet)
        raise
    assert made is not None  # noqa: S101 - a stream that ends has ended with its completion
    return made


def _show_decision(decision: RouteDecision, *, as_json: bool) -> None:
    if as_json:
        echo_json(decision.to_dict())
        return
    headings = ("", "provider", "model", "place", "score", "cost", "latency", "accuracy", "at most", "why not")
    numbers = iter(range(1, len(decision.candidates) + 1))
    echo_table(
        headings,
        [
            (
                "-" if one.refusal else next(numbers),
                *(one.provider, one.model, one.place),
                *map(_share, (one.score, one.cost_score, one.latency_score, one.accuracy_score)),
                "" if one.worst is None else f"{one.worst:f} {one.currency}",
                "" if one.refusal is None else f"{one.refusal}: {one.why}",
            )
            for one in decision.candidates
        ],
    )
    click.echo(f"at most {decision.input_tokens} tokens of prompt and {decision.max_tokens} of answer", err=True)


def _show_attempts(made: Completion) -> None:
    for one in made.attempts:
        assumed = " (assumed: nobody counted)" if one.assumed else ""
        click.echo(
            f"{one.provider}/{one.model}: {one.outcome}, {one.seconds:.2f} s, {one.amount:f} {one.currency}{assumed}",
            err=True,
        )


def _completion(made: Completion) -> dict[str, Any]:
    usage = made.usage
    return {
        "text": made.text,
        "finish_reason": made.finish_reason,
        "provider": made.provider,
        "model": made.model,
        "response_model": made.response_model,
        "cost": format(made.cost, "f"),
        "currency": made.currency,
        "input_tokens": None if usage is None else usage.input_tokens,
        "output_tokens": None if usage is None else usage.output_tokens,
        "attempts": [
            {
                "provider": one.provider,
                "model": one.model,
                "outcome": one.outcome,
                "detail": one.detail,
                "seconds": round(one.seconds, 6),
                "amount": format(one.amount, "f"),
                "assumed": one.assumed,
                "reservation": one.reservation,
            }
            for one in made.attempts
        ],
        "audit_id": made.audit_id,
    }


_share: Callable[[float], str] = "{:.2f}".format


llm.add_command(prices)
llm.add_command(classify)
llm.add_command(evaluate)
