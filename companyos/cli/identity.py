"""`companyos identity`: who is who, from a file into the store and back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from companyos.authz.identity import IdentityStore, dump_directory, load_directory
from companyos.authz.identity.records import to_json
from companyos.cli.output import echo_json, echo_table, json_option
from companyos.company import Company
from companyos.errors import UnverifiableError, UserError, printable

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import IO

    from companyos.authz.identity import Bundle, Step

__all__ = ("identity",)

SHOWN = 60
"""How many characters of a value a table shows."""


@click.group()
@click.option("--url", help="Database of the identity store; default: that of companyos.yaml.")
@click.option("--by", metavar="ID", help="Who makes the change, for the ledger.")
@click.pass_context
def identity(context: click.Context, url: str | None, by: str | None) -> None:
    """Keep who is who: subjects, attributes, roles, bindings."""
    company = context.with_resource(Company.open(Path.cwd()))
    place = company.database_url(url or company.settings.identity.url)

    def opened(*, rebuild: bool = False, make: bool = False) -> IdentityStore:
        if not make and not company.has_ledger:
            raise UnverifiableError(
                f"there is no ledger at {company.root}, so that nothing can be said of anybody",
                hint="go to the company's directory; `companyos identity import FILE` begins a ledger",
            )
        return context.with_resource(IdentityStore.open(place, company.ledger, actor=by, rebuild=rebuild))

    context.obj = opened


@identity.command("import")
@click.argument("file", type=click.File(encoding="utf-8"))
@click.option("--dry-run", is_flag=True, help="Only show what would be done.")
@click.option("--prune", is_flag=True, help="Remove what the file does not name.")
@json_option
@click.pass_obj
def import_file(opened: Any, file: IO[str], *, dry_run: bool, prune: bool, as_json: bool) -> None:
    """Make the store say what FILE says (YAML; - for standard input), all of it or nothing."""
    wanted = load_directory(_read(file), file.name)
    steps = opened(make=True).sync(wanted, prune=prune, dry_run=dry_run)
    if as_json:
        echo_json({"dry_run": dry_run, "steps": [step.to_dict() for step in steps]})
        return
    if steps:
        echo_table(("do", "what", "which", "details"), [_row(step) for step in steps])
    changes = "change" if len(steps) == 1 else "changes"
    click.echo(f"# {len(steps)} {changes}{', not made: --dry-run' if dry_run and steps else ''}", err=True)


@identity.command()
@json_option
@click.pass_obj
def export(opened: Any, *, as_json: bool) -> None:
    """Write everything as YAML that `import` reads; the same store gives the same bytes."""
    text = dump_directory(opened().directory())
    if as_json:
        from companyos.config import parse_yaml

        echo_json(parse_yaml(text, "export"))
    else:
        click.echo(text, nl=False)


@identity.command()
@click.argument("subject_id", metavar="SUBJECT", required=False)
@click.option("--workspace", metavar="ID", help="As of this workspace; default: the subject's own.")
@click.option("--bundles", is_flag=True, help="Show the policy bundles instead: version, stage, checksum, creator.")
@json_option
@click.pass_obj
def show(opened: Any, subject_id: str | None, workspace: str | None, *, bundles: bool, as_json: bool) -> None:
    """Show SUBJECT as policies see it now, and exit 1 if there is none; or the policy bundles that were promoted."""
    if bundles == (subject_id is not None) or (bundles and workspace is not None):
        raise click.UsageError("show SUBJECT, perhaps in a --workspace, or --bundles")
    if subject_id is None:
        _show_bundles(opened().bundles(), as_json=as_json)
        return
    found = opened().resolve(subject_id, workspace)
    if as_json:
        echo_json(found)
        return
    rows = [(key, _shown(value)) for key, value in found.items() if key != "attributes"]
    rows += [(f"attributes.{key}", _shown(value)) for key, value in found["attributes"].items()]
    echo_table(("what", "value"), rows)


@identity.command()
@click.argument("subject_id", metavar="SUBJECT")
@click.pass_obj
def suspend(opened: Any, subject_id: str) -> None:
    """Suspend SUBJECT at once: policies refuse whatever it asks."""
    done = opened().suspend(subject_id)
    click.echo(f"{printable(subject_id)} {'suspended' if done else 'was suspended already'}", err=True)


@identity.command()
@click.argument("subject_id", metavar="SUBJECT")
@click.pass_obj
def activate(opened: Any, subject_id: str) -> None:
    """End the suspension of SUBJECT."""
    done = opened().activate(subject_id)
    click.echo(f"{printable(subject_id)} {'active' if done else 'was active already'}", err=True)


@identity.command()
@json_option
@click.pass_obj
def verify(opened: Any, *, as_json: bool) -> int:
    """Build the store from the ledger once more, aside, and compare; exit 1 if they differ."""
    store = opened()
    position = store.verify()
    rejected = store.rejected()
    if as_json:
        echo_json({"position": position, "passed_over": rejected})
        return int(bool(rejected))
    if rejected:
        echo_table(("entry", "passed over because"), sorted(rejected.items()))
        return 1
    click.echo(f"as the ledger says, up to entry {position}")
    return 0


@identity.command()
@click.pass_obj
def rebuild(opened: Any) -> None:
    """Throw away what the store holds and build it again from the ledger."""
    click.echo(f"built from {opened(rebuild=True).position} entries")


def _show_bundles(bundles: tuple[Bundle, ...], *, as_json: bool) -> None:
    rows = [to_json(bundle) for bundle in bundles]
    if as_json:
        echo_json(rows)
        return
    shown = ("bundle_id", "version", "stage", "checksum", "created_by")
    echo_table(shown, [["" if row[key] is None else row[key] for key in shown] for row in rows])


def _read(file: IO[str]) -> str:
    try:
        return file.read()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{file.name} cannot be read", got=error, expected="a readable UTF-8 file") from error


def _row(step: Step) -> tuple[str, str, str, str]:
    record = step.change.record
    return step.verb, record.kind, " ".join(part for part in record.key if part), _details(step)


def _details(step: Step) -> str:
    if step.verb == "change":
        return ", ".join(f"{name}: {_shown(old)} → {_shown(new)}" for name, (old, new) in step.differences.items())
    return "" if step.verb == "remove" else _added(step.to_dict()["record"])


def _added(record: Mapping[str, Any]) -> str:
    keys = {"id", "name", "scope", "owner", "source", "subject_id", "role_id", "workspace_id", "created_at", "ttl"}
    return ", ".join(
        f"{key}: {_shown(value)}" for key, value in record.items() if key not in keys and value is not None
    )


def _shown(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 1]}…"
