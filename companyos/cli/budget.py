"""`companyos budget`: reserve before spending, settle afterwards, see what is left, rebuild what was lost."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from companyos.cli.budget_records import alerts, purge, variance
from companyos.cli.output import echo_decision, echo_json, echo_table, json_option
from companyos.company import Company

if TYPE_CHECKING:
    from collections.abc import Sequence

    from companyos.finops.budgets import Level

__all__ = ("budget",)

BAR_WIDTH = 20
_id = click.argument("reservation_id")


if TYPE_CHECKING:
    _DecimalType = click.ParamType[Decimal]
else:
    _DecimalType = click.ParamType  # generic since click 8.4 alone


class _Amount(_DecimalType):
    """An exact amount of money."""

    name = "amount"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Decimal:
        """The decimal that was typed."""
        try:
            return Decimal(value)
        except InvalidOperation:
            self.fail(f"{value!r} is not an amount such as 12.50", param, ctx)


@click.group()
@click.option("--policy", type=click.Path(path_type=Path), help="The policy; default: that of companyos.yaml.")
@click.option("--store", help="URL of the store; default: that of companyos.yaml.")
@click.pass_context
def budget(context: click.Context, policy: Path | None, store: str | None) -> None:
    """Reserve from budgets that cannot be overspent, settle, and see what is left."""
    company = context.with_resource(Company.open(Path.cwd()))
    given = {"budget_policy": None if policy is None else policy.absolute(), "budget_store": store}
    section = company.settings.finops.model_copy(update={k: v for k, v in given.items() if v is not None})
    company.settings = company.settings.model_copy(update={"finops": section})
    context.obj = company


for _command in (alerts, purge, variance):
    budget.add_command(_command)


@budget.command()
@click.option("--all", "everything", is_flag=True, help="Windows that are over, too.")
@json_option
@click.pass_obj
def show(company: Company, everything: bool, as_json: bool) -> None:
    """Show spent, reserved and left of every level in the windows that run now."""
    _show(company, everything=everything, as_json=as_json)


@budget.command()
@click.option("--interval", type=click.FloatRange(0.1), default=2.0, show_default=True, help="Seconds between looks.")
@click.option("--count", type=click.IntRange(1), help="How many looks; default: until interrupted.")
@json_option
@click.pass_obj
def watch(company: Company, interval: float, count: int | None, as_json: bool) -> None:
    """Show the levels again and again."""
    looks = 0
    while True:
        click.echo(f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC", err=as_json)
        _show(company, everything=False, as_json=as_json)
        looks += 1
        if looks == count:
            return
        time.sleep(interval)


@budget.command()
@click.argument("amount", type=_Amount(), required=False)
@click.option("--task", required=True, help="Path of the task: company/team/feature/run.")
@click.option("--tokens", type=click.IntRange(0), help="Tokens, prompt and answer together.")
@click.option("--currency", help="Of the amount, where the policy has caps in several.")
@click.option("--provider", help="Whose model; needed where the policy has phases.")
@click.option("--model", help="Which model.")
@click.option("--id", "name", help="Id of the reservation; the same again is the same reservation.")
@click.option("--lease", "lease_seconds", type=float, help="Seconds until it expires; default: that of the policy.")
@json_option
@click.pass_obj
def reserve(
    company: Company,
    *,
    amount: Decimal | None,
    task: str,
    tokens: int | None,
    currency: str | None,
    provider: str | None,
    model: str | None,
    name: str | None,
    lease_seconds: float | None,
    as_json: bool,
) -> int:
    """Hold AMOUNT for a task in every level that applies. Exits 1 if it is refused, and then holds nothing."""
    from companyos.finops.budgets import BudgetRefusedError

    try:
        made = company.budget.reserve(
            amount,
            task=task,
            tokens=tokens,
            currency=currency,
            provider=provider,
            model=model,
            id=name,
            lease_seconds=lease_seconds,
        )
    except BudgetRefusedError as error:
        return echo_decision(error.decision, as_json=as_json)
    if as_json:
        echo_json(made.to_dict())
    else:
        click.echo(f"reserved {made.id} until {made.lease_until:%Y-%m-%d %H:%M:%S} UTC")
    return 0


@budget.command()
@_id
@click.argument("amount", type=_Amount(), required=False)
@click.option("--tokens", type=click.IntRange(0), help="Tokens that were spent.")
@json_option
@click.pass_obj
def settle(company: Company, reservation_id: str, amount: Decimal | None, tokens: int | None, as_json: bool) -> None:
    """Put what was really spent in the place of what was reserved; what is not said was spent in full."""
    company.budget.settle(reservation_id, amount, tokens=tokens)
    _tell(company, reservation_id, as_json=as_json)


@budget.command()
@_id
@json_option
@click.pass_obj
def refund(company: Company, reservation_id: str, as_json: bool) -> None:
    """Give back all that was reserved: nothing was spent."""
    company.budget.refund(reservation_id)
    _tell(company, reservation_id, as_json=as_json)


@budget.command()
@json_option
@click.pass_obj
def rebuild(company: Company, as_json: bool) -> None:
    """Make a lost store anew from the ledger; one that is whole and agrees with it is left as it is."""
    from companyos.finops.budgets import BudgetPolicy, open_store
    from companyos.finops.budgets import rebuild as make_anew

    policy = BudgetPolicy.load(company.root / company.settings.finops.budget_policy)
    store = open_store(company.budget_url, "company")
    try:
        made = make_anew(policy, store, company.ledger)
    finally:
        store.close()
    if as_json:
        echo_json(made.to_dict())
        return
    click.echo("rebuilt from the ledger" if made.changed else "whole, and in agreement with the ledger: nothing done")
    click.echo(f"  epoch {made.epoch}, {made.reservations} reservations known, {made.salvaged} events salvaged")
    for key, units in made.unaccounted:
        click.echo(f"  deemed spent, because nobody knows: {units} units of {key}")
    for name in made.contradictions:
        click.echo(f"  settled twice with different amounts, the larger one counts: {name}")


@budget.command()
@click.option("--critical", is_flag=True, help="The pipeline is critical: it may run although a cap is used up.")
@json_option
@click.pass_obj
def gate(company: Company, critical: bool, as_json: bool) -> int:
    """Judge whether a pipeline may run: every cap, and the costs by every target and ceiling of the policy."""
    from companyos.decision import combine
    from companyos.finops import judge
    from companyos.finops.budgets import assess

    held = company.budget
    parts = [assess(held.policy, held.levels(), held.now(), critical=critical)]
    if held.policy.costs:
        parts.append(judge(held.policy.costs, company.costs, as_of=datetime.now(UTC)))
    return echo_decision(held.record(combine(parts, reason=parts[0].reason)), as_json=as_json)


def _show(company: Company, *, everything: bool, as_json: bool) -> None:
    held = company.budget
    levels, now = held.levels(), held.now()
    running = [one for one in levels if everything or one.start <= now < one.end]
    opened = held.open_reservations()
    if as_json:
        echo_json({"levels": [_level(one) for one in running], "open": [one.id for one in opened]})
        return
    if not running:
        click.echo("nothing spent or reserved in the windows that run now", err=True)
        return
    echo_table(("level", "unit", "spent", "reserved", "left", "limit", "used", ""), [_row(one) for one in running])
    click.echo(f"{len(opened)} reservations open", err=True)


def _row(level: Level) -> Sequence[object]:
    from companyos.finops.budgets import percent_of

    values = _level(level)
    percent = percent_of(level)
    bar = "█" * min(BAR_WIDTH, percent * BAR_WIDTH // 100)
    names = ("level", "unit", "spent", "reserved", "left", "limit")
    return (*(values[name] for name in names), f"{percent} %", f"{bar:░<{BAR_WIDTH}}")


def _level(level: Level) -> dict[str, Any]:
    from companyos.finops.budgets.units import number

    left = max(0, level.limit - level.spent - level.reserved)
    name, _, window = level.key.partition(f":{level.unit}:")
    return {
        "level": f"{name} {window.replace(':', ' ')}",
        "key": level.key,
        "unit": level.unit,
        "spent": number(level.spent, level.unit),
        "reserved": number(level.reserved, level.unit),
        "left": number(left, level.unit),
        "limit": number(level.limit, level.unit),
        "start": datetime.fromtimestamp(level.start, UTC).isoformat(),
        "end": datetime.fromtimestamp(level.end, UTC).isoformat() if level.key.count(":") > 2 else None,
    }


def _tell(company: Company, reservation_id: str, *, as_json: bool) -> None:
    from companyos.finops.budgets.units import shown

    found = company.budget.find(reservation_id)
    if found is None:  # purged meanwhile; what was done is done
        return
    units = {key: unit for key, _, _, unit, *_ in found.body["charges"]}
    spent = {key: shown(amount, units[key]) for key, amount in found.actual or ()}
    if as_json:
        echo_json({"id": found.id, "status": found.status, "spent": spent})
        return
    click.echo(f"{found.id} {found.status}")
    for key, amount in spent.items():
        click.echo(f"  {key}  {amount}")
