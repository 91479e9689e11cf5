"""`companyos audit`: who did what, and whether the record of it can be believed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from companyos.cli.options import ledger_url_option
from companyos.cli.output import echo_decision, echo_json, echo_table, json_option

if TYPE_CHECKING:
    from companyos.ledger import Ledger
    from companyos.ports import Entry
    from companyos.signing import PublicKey

__all__ = ("audit",)

_HEADINGS = ("INDEX", "TIME", "ACTOR", "VERB", "TARGET", "DECISION", "POLICY", "KEY ID")
_AS_STORED = "# as stored; whether it is what was recorded is said by companyos audit verify"


@click.group()
def audit() -> None:
    """Look at the audit trail, and verify it."""


@audit.command("list")
@click.option("-n", "count", type=click.IntRange(min=1), default=20, show_default=True, help="How many records.")
@click.option("--reveal", is_flag=True, help="Decrypt who it was, with the keys at hand.")
@json_option
@ledger_url_option
def list_records(url: str | None, count: int, *, reveal: bool, as_json: bool) -> None:
    """Show the newest records and decisions, the newest last; persons by their pseudonyms unless --reveal is given."""
    from collections import deque

    from companyos.cli.ledger.place import reader, writer
    from companyos.observability.audit import records

    with writer(url) if reveal else reader(url) as log:
        entries = deque(records(log, types=_types()), maxlen=count)
        found = [_fields(_revealed(log, entry) if reveal else entry) for entry in entries]
    if as_json:
        echo_json(found)
    elif found:
        click.echo(_AS_STORED, err=True)
        echo_table(_HEADINGS, [_row(fields) for fields in found])
    else:
        click.echo("# no records", err=True)


@audit.command()
@click.argument("index", type=click.IntRange(min=0))
@click.option("--reveal", is_flag=True, help="Decrypt who it was, with the keys at hand.")
@ledger_url_option
def show(url: str | None, index: int, *, reveal: bool) -> None:
    """Show one record in full, as JSON."""
    from companyos.cli.ledger.place import reader, writer
    from companyos.errors import UserError

    with writer(url) if reveal else reader(url) as log:
        entry = next(iter(log.read(index, index + 1)), None)
        if entry is None or entry.type not in _types():
            raise UserError(f"entry {index} is no audit record", hint="companyos audit list")
        click.echo(_AS_STORED, err=True)
        echo_json(_fields(_revealed(log, entry) if reveal else entry))


@audit.command()
@click.option("--against", type=click.Path(path_type=Path), help="An anchor: a checkpoint that was kept elsewhere.")
@click.option("--key", help="Public key of the log: a file, a key URI or a verifier key; default: the one beside it.")
@click.option(
    "--audit-key", "audit_keys", multiple=True, metavar="URI", help="Key that signs records; may be given again."
)
@json_option
@ledger_url_option
def verify(
    url: str | None, against: Path | None, key: str | None, audit_keys: tuple[str, ...], *, as_json: bool
) -> int:
    """Verify the whole log, then the signature and the fields of every audit record.

    Exit status: 0 all is whole, 1 findings, 3 it cannot be checked (no record at all is not good either).
    """
    from companyos.cli.ledger.place import read_file, reader
    from companyos.observability.audit import check_trail

    settings, keys = _trust(audit_keys)
    anchor = None if against is None else read_file(against)
    with reader(url, key) as log:
        days = settings.ledger.retention_days
        decision = check_trail(log, keys, against=anchor, also=(_decision_type(),), retention_days=days)
    return echo_decision(decision, as_json=as_json)


def _trust(audit_keys: tuple[str, ...]) -> tuple[Any, list[PublicKey]]:
    from companyos import config
    from companyos.company import Company
    from companyos.errors import UnverifiableError
    from companyos.signing import KeyUnusableError, PublicKey, retired

    found = config.find(Path.cwd())
    with Company.open(found) as company:
        own = company.key_uri(company.settings.observability.audit_key)
        uris = audit_keys or (own,)
        try:
            keys = [PublicKey.load(uri) for uri in uris] + list(() if audit_keys else retired(own))
        except KeyUnusableError as error:
            # Not the hint of the room of keys: a key that is made now has signed nothing.
            raise UnverifiableError(
                "the key that signs audit records cannot be read, so that nothing can be said of them",
                got=error.what,
                hint="give its public half, --audit-key file:NAME.pem.pub, as it was when the records were written",
            ) from error
        return company.settings, keys


def _decision_type() -> str:
    from companyos.authz.audit import DECISION

    return DECISION


def _types() -> tuple[str, str]:
    from companyos.observability.audit import TYPE

    return TYPE, _decision_type()


def _revealed(log: Ledger, entry: Entry) -> Entry:
    from companyos.ledger import ErasedError

    try:
        return log.reveal(entry)
    except ErasedError:
        return entry


def _fields(entry: Entry) -> dict[str, Any]:
    data = {"(payload)": "dropped"} if entry.data is None else {key: _plain(value) for key, value in entry.data.items()}
    return {"index": entry.index, "id": entry.id, "type": entry.type, "time": entry.time.isoformat(), **data}


def _plain(value: Any) -> Any:
    """A value without what only serves verification; the pseudonym of whom it is about if it is encrypted."""
    from companyos.ledger.entry import PERSONAL

    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    if not isinstance(value, dict):
        return value
    if PERSONAL in value:
        return value[PERSONAL].get("sub")
    if value.keys() == {"commitment", "personal"}:
        inner = value["personal"]
        return inner["value"] if inner.keys() == {"salt", "value"} else _plain(inner)
    return {key: _plain(inner) for key, inner in value.items()}


def _row(fields: dict[str, Any]) -> tuple[object, ...]:
    target = fields.get("target") or {}
    policy = fields.get("policy")
    signature = fields.get("signature") or {}
    return (
        fields["index"],
        f"{fields['time'][:19]}Z",
        _short(fields.get("actor")),
        _short(fields.get("verb")),
        _short(":".join(str(target[key]) for key in ("type", "id") if key in target)),
        fields.get("decision") or "-",
        _short(policy.get("id") if isinstance(policy, dict) else policy),
        str(signature.get("keyid") or signature.get("by") or "-")[:16],
    )


def _short(value: object) -> str:
    text = "-" if value in (None, "") else str(value)
    return text if len(text) <= 40 else f"{text[:39]}…"
