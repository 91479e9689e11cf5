"""`companyos llm classify` and `evaluate`: which task a prompt is, and how often that is right."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from companyos.cli.output import echo_json, echo_table, json_option, write_whole

if TYPE_CHECKING:
    from companyos.company import Company

__all__ = ("classify", "evaluate")

ACCURACY = Path("quality") / "model_routing_accuracy.csv"
LATENCY = Path("performance") / "model_router_latency.csv"
LEAST_ACCURACY = 0.92
MOST_MILLISECONDS = 120.0
_rules = click.option("--rules", type=click.Path(path_type=Path), help="Rules of one's own; default: the shipped ones.")


@click.command()
@click.argument("prompt")
@_rules
@json_option
def classify(prompt: str, rules: Path | None, *, as_json: bool) -> int:
    """Say which task PROMPT is, and by which words. Exits 1 if the rules cannot tell."""
    from companyos.llm.tasks import Classifier

    found = (Classifier.shipped() if rules is None else Classifier.load(rules)).classify(prompt)
    if as_json:
        echo_json({"task": found.task, "scores": found.scores, "matched": list(found.matched)})
    else:
        click.echo(found.task or "the rules cannot tell")
        for word in found.matched:
            click.echo(f"  {word}")
    return 0 if found.task else 1


@click.command()
@click.option("--out", type=click.Path(path_type=Path), help="Directory to write the measurements to, as CSV.")
@_rules
@json_option
@click.pass_obj
def evaluate(company: Company, *, out: Path | None, rules: Path | None, as_json: bool) -> int:
    """Route the labelled set by the routing file, and hold the share of right answers against 92 %.

    What counts is the half of the set that the rules were not made by. Asks nobody, and leaves out residency, which is
    about vendors and not about tasks. Exit status: 0 the bars are met, 1 they are not.
    """
    from companyos.llm.prices import Chained
    from companyos.llm.router import ModelRouter
    from companyos.llm.routing import RoutingPolicy
    from companyos.llm.tasks import Classifier, labelled_set
    from companyos.llm.tasks.evaluation import evaluate as run

    classifier = Classifier.shipped() if rules is None else Classifier.load(rules)
    policy = RoutingPolicy.load(company.root / company.settings.llm.routing)
    kinds = company.plugins.llm_providers()
    with ModelRouter(
        policy, prices=Chained(company.llm_prices, policy), rates=company.llm_rates, kinds=kinds
    ) as router:
        result = run(router, classifier, labelled_set())
    if out is not None:
        for name, text in ((ACCURACY, result.accuracy_csv()), (LATENCY, result.latency_csv())):
            (out / name).parent.mkdir(parents=True, exist_ok=True)
            write_whole(out / name, text)
    held, other = result.accuracy(held_out=True), result.accuracy(held_out=False)
    slow = result.latency_ms(95)
    met = held >= LEAST_ACCURACY and slow < MOST_MILLISECONDS
    if as_json:
        values = {"held_out": held, "made_by": other, "prompts": len(result.routed), "p95_ms": slow}
        echo_json({"met": met, **{key: round(value, 4) for key, value in values.items()}})
    else:
        rows = [
            ("right, of the half held out", f"{held:.1%}", f"at least {LEAST_ACCURACY:.0%}"),
            ("right, of the half the rules were made by", f"{other:.1%}", ""),
            ("p95 of rules and ranking", f"{slow:.2f} ms", f"less than {MOST_MILLISECONDS:.0f} ms"),
        ]
        echo_table(("measured", "value", "bar"), rows)
        for one in result.routed:
            if not one.is_correct:
                click.echo(f"{one.example.task}, taken for {one.task or 'none'}: {one.example.prompt}", err=True)
    return 0 if met else 1
