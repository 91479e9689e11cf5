"""`companyos notify`: tell people, deliver what waits, see what became of it, deal with what could not be told."""

from __future__ import annotations

import json
import signal
import threading
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from companyos.cli.output import echo_decision, echo_json, echo_table, json_option
from companyos.company import Company
from companyos.ledger.outbox import OutboxUnavailableError
from companyos.notify import (
    DeliveryStatus,
    Message,
    NotifyUnknownError,
    Worker,
    delivery_log,
    to_csv,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from companyos.ledger.outbox import Outbox, Record

__all__ = ("notify",)

DAY_SECONDS = 86_400.0
PURGE_EVERY_SECONDS = 3600.0
_message_id = click.argument("message_id")
_limit = click.option("--limit", type=click.IntRange(1), default=1000, show_default=True, help="The newest so many.")
_one_channel = click.option("--channel", help="On that channel alone; default: on all.")


@click.group()
@click.option("--outbox", help="Database in which messages wait; default: that of companyos.yaml.")
@click.pass_context
def notify(context: click.Context, outbox: str | None) -> None:
    """Tell people: send, deliver what waits, and see what became of it."""
    company = context.with_resource(Company.open(Path.cwd()))
    if outbox is not None:
        section = company.settings.notify.model_copy(update={"outbox": outbox})
        company.settings = company.settings.model_copy(update={"notify": section})
    context.obj = company


@notify.command()
@click.argument("topic")
@click.argument("text")
@click.option("--property", "properties", multiple=True, metavar="KEY=VALUE", help="More to tell; may be repeated.")
@click.option("--correlation-id", default="", help="What it belongs to; default: one of its own.")
@click.option("--id", "name", default="", help="Idempotency key; the same again is the same message.")
@json_option
@click.pass_obj
def send(
    company: Company,
    *,
    topic: str,
    text: str,
    properties: tuple[str, ...],
    correlation_id: str,
    name: str,
    as_json: bool,
) -> int:
    """Tell TEXT on every channel. Exits 1 if one of them has not taken it yet and was to be tried at once."""
    message = Message(topic, text, correlation_id, dict(map(_pair, properties)), name)
    deliveries = company.notifier.publish(message)
    status = company.notifier.get_delivery_status(deliveries[0].message_id) if deliveries else None
    if as_json:
        echo_json(status and status.to_dict())
    elif status is not None:
        click.echo(f"message {status.id}, correlation {status.correlation_id}")
        _show(status)
    return 1 if company.settings.notify.at_once and not all(one.delivered for one in deliveries) else 0


@notify.command()
@click.option("--once", is_flag=True, help="End when nothing is due.")
@json_option
@click.pass_obj
def work(company: Company, once: bool, as_json: bool) -> int:
    """Deliver what waits in the outbox until stopped; what is under way is finished first.

    With --once it exits 1 if a message died.
    """
    section, outbox = company.settings.notify, _outbox(company)
    worker = Worker(
        outbox,
        company.notifier.channels,
        ledger=company.ledger,
        retry=company.notifier.retry,
        threads=section.threads,
        lease_seconds=section.lease_seconds,
    )
    with _until_stopped() as stop:
        keeper = threading.Thread(target=_purge, args=(outbox, section.keep_days * DAY_SECONDS, stop), daemon=True)
        keeper.start()
        if not once:
            click.echo(f"delivering to {', '.join(company.notifier.channels) or 'no channel'}", err=True)
        try:
            tally = worker.run(stop, once=once)
        finally:
            stop.set()
            keeper.join()
    if as_json:
        echo_json({"delivered": tally.delivered, "retried": tally.retried, "dead": tally.dead})
    else:
        click.echo(f"{tally.delivered} delivered, {tally.retried} to be tried again, {tally.dead} dead")
    return 1 if once and tally.dead else 0


@notify.command()
@_message_id
@json_option
@click.pass_obj
def status(company: Company, message_id: str, as_json: bool) -> None:
    """Show where the message MESSAGE_ID stands on each channel."""
    found = company.notifier.get_delivery_status(message_id)
    if as_json:
        echo_json(found.to_dict())
        return
    click.echo(f"{found.topic}, correlation {found.correlation_id}, published {found.published:%Y-%m-%d %H:%M:%S} UTC")
    _show(found)


@notify.command()
@json_option
@click.pass_obj
def channels(company: Company, as_json: bool) -> None:
    """List the channels: where messages go, and whether a second copy does harm there."""
    rows = [
        {
            "channel": name,
            "kind": type(channel).__name__,
            "outside": bool(getattr(channel, "outside", True)),
            "honours_key": bool(getattr(channel, "honours_key", False)),
        }
        for name, channel in company.notifier.channels.items()
    ]
    if as_json:
        echo_json(rows)
        return
    words = {True: "yes", False: "no"}
    table = [
        (row["channel"], row["kind"], words[bool(row["outside"])], words[bool(row["honours_key"])]) for row in rows
    ]
    echo_table(("channel", "kind", "outside", "honours the key"), table)


@notify.command()
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV.")
@_limit
@json_option
@click.pass_obj
def log(company: Company, as_csv: bool, limit: int, as_json: bool) -> None:
    """Show the deliveries that ended: when, where, for what, how, and how long they took."""
    rows = delivery_log(_outbox(company).records(states=("delivered", "dead", "dropped"), limit=limit))
    if as_json:
        echo_json(rows)
    elif as_csv:
        click.echo(to_csv(rows), nl=False)
    else:
        headings = ("timestamp", "destination", "correlation_id", "status", "latency_ms")
        echo_table(headings, [[row[name] for name in headings] for row in rows])


@notify.command()
@click.option(
    "--overdue", type=click.FloatRange(0), default=300.0, show_default=True, help="Seconds that are too late."
)
@json_option
@click.pass_obj
def check(company: Company, overdue: float, as_json: bool) -> int:
    """Judge the outbox: nothing dead, nothing overdue, all of it on the ledger. Exits 1 if not."""
    from companyos.notify.checks import check_deliveries

    return echo_decision(check_deliveries(_outbox(company), company.ledger, overdue_seconds=overdue), as_json=as_json)


@notify.group()
def dead() -> None:
    """Look at messages that could not be delivered, replay or drop them."""


@dead.command("list")
@_limit
@json_option
@click.pass_obj
def list_dead(company: Company, limit: int, as_json: bool) -> int:
    """List dead messages; exits 1 if there are any."""
    found = _outbox(company).records(states=("dead",), limit=limit)
    if as_json:
        echo_json([_dead(record) for record in found])
    else:
        rows = [(one.id, one.lane, one.attempts, one.note) for one in found]
        echo_table(("message", "channel", "attempts", "why"), rows)
    return 1 if found else 0


@dead.command("show")
@_message_id
@click.pass_obj
def show_dead(company: Company, message_id: str) -> None:
    """Print the dead message MESSAGE_ID whole, as JSON."""
    found = [_dead(one) | _content(one) for one in _outbox(company).find(message_id) if one.state == "dead"]
    if not found:
        raise _not_dead(message_id)
    echo_json(found)


@dead.command()
@_message_id
@_one_channel
@click.pass_obj
def replay(company: Company, message_id: str, channel: str | None) -> None:
    """Let the dead message MESSAGE_ID be tried again, under the same id."""
    count = _outbox(company).replay(message_id, lane=channel)
    _record(company, "replayed", message_id, channel, count)
    click.echo(f"{count} waiting again; `companyos notify work` delivers")


@dead.command()
@_message_id
@_one_channel
@click.pass_obj
def drop(company: Company, message_id: str, channel: str | None) -> None:
    """Give the dead message MESSAGE_ID up for good."""
    count = _outbox(company).drop(message_id, lane=channel)
    _record(company, "dropped", message_id, channel, count)
    click.echo(f"{count} dropped")


def _record(company: Company, what: str, message_id: str, channel: str | None, count: int) -> None:
    if not count:
        raise _not_dead(message_id)
    company.ledger.append(f"companyos.notify.{what}", {"id": message_id, "channel": channel, "deliveries": count})


def _outbox(company: Company) -> Outbox:
    outbox = company.notifier.outbox
    assert outbox is not None, "a company's notifier has one"  # noqa: S101 - for the type checker
    return outbox


@contextmanager
def _until_stopped() -> Iterator[threading.Event]:
    """An event that SIGTERM and SIGINT set, for as long as this lasts."""
    stop = threading.Event()
    before = {number: signal.signal(number, lambda *_: stop.set()) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _purge(outbox: Outbox, older_than_seconds: float, stop: threading.Event) -> None:
    while not stop.is_set():
        with suppress(OutboxUnavailableError):  # the worker says so
            outbox.purge(older_than_seconds)
        stop.wait(PURGE_EVERY_SECONDS)


def _show(found: DeliveryStatus) -> None:
    rows = [(one.channel, one.stage, one.attempts, one.note) for one in found.channels]
    echo_table(("channel", "stage", "attempts", "why"), rows)


def _dead(record: Record) -> dict[str, Any]:
    return {"id": record.id, "channel": record.lane, "attempts": record.attempts, "why": record.note}


def _content(record: Record) -> dict[str, Any]:
    return {**json.loads(record.body), **json.loads(record.meta)}


def _not_dead(message_id: str) -> NotifyUnknownError:
    return NotifyUnknownError(f"no dead message {message_id}", hint="see `companyos notify dead list`")


def _pair(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise click.BadParameter(f"{text!r} is not KEY=VALUE", param_hint="--property")
    return key, value
