"""`companyos bundle`: policy bundles, from the directory to production."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from companyos import config
from companyos.cli.output import echo_decision, echo_json, echo_table, json_option
from companyos.errors import ConfigError, UserError, printable

if TYPE_CHECKING:
    from companyos.authz.bundles import Bundle, Promotions
    from companyos.company import Company
    from companyos.ledger import Ledger

__all__ = ("bundle",)

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_trust_option = click.option(
    "--trust",
    type=_FILE,
    help="The keys that count, each with its algorithm (default: bundle-trust.yaml here, or beside companyos.yaml).",
)
_scope_option = click.option("--scope", help="The scope that the signature must name (default: the key's own).")
_stages = click.Choice(["dev", "staging", "prod"])


@click.group()
def bundle() -> None:
    """Build, sign, verify, compare and promote policy bundles."""


@bundle.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), required=True, help="The .tar.gz to write.")
@click.option("--name", help="Name of the bundle (default: the domain, or the directory's name).")
@click.option("--version", "version", help="Its version (default: that of metadata.yaml).")
@click.option("--stage", type=_stages, default="dev", show_default=True, help="Which stage of the layout to take.")
@click.option("--by", help="Who builds it (default: git's user.email).")
@click.option("--expires", metavar="TIME", help="When it expires, 2027-01-31T00:00:00Z (default: in 90 days).")
@json_option
def build(
    *,
    paths: tuple[Path, ...],
    out: Path,
    name: str | None,
    version: str | None,
    stage: str,
    by: str | None,
    expires: str | None,
    as_json: bool,
) -> None:
    """Build a bundle of policy directories, or of a layout DOMAIN/SERVICE/STAGE/VERSION.

    The policies are checked as the engine checks them, and asked in a process with bounded time and memory.
    """
    from companyos.authz.bundles import build_bundle

    built = build_bundle(
        paths, created_by=by or _git_email(), expires=_moment(expires), name=name, version=version, stage=stage
    )
    _write(out, built)
    _show(built, out, as_json=as_json)


@bundle.command()
@click.argument("file", type=_FILE)
@click.option("--key", required=True, help="Private key: file:PATH or env:NAME (RSA, ECDSA P-256 or Ed25519).")
@click.option("--key-id", required=True, help="The key's id in the trust configuration.")
@click.option("--scope", help="What it is signed for.")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="The file to write (default: FILE).")
@json_option
def sign(*, file: Path, key: str, key_id: str, scope: str | None, out: Path | None, as_json: bool) -> None:
    """Sign a bundle; a signature that it has is replaced."""
    from companyos.authz.bundles import private_key, sign_bundle

    signed = sign_bundle(_read(file), private_key(key), key_id, scope=scope)
    _write(out or file, signed)
    _show(signed, out or file, as_json=as_json)


@bundle.command()
@click.argument("file", type=_FILE)
@_trust_option
@_scope_option
@click.option("--stage", type=_stages, help="It must be what is in force there.")
@json_option
def verify(*, file: Path, trust: Path | None, scope: str | None, stage: str | None, as_json: bool) -> int:
    """Verify a bundle: form, signature, files, expiry, and that the ledger knows no newer one.

    Exits 0 if all holds, 1 if it is refused, 3 if it could not be told: without a companyos.yaml there is no ledger.
    """
    from companyos.authz.bundles import BundleTrust, judge_bundle

    data, keys = _bytes(file), BundleTrust.load(_trust(trust))
    company = _company()
    if company is None:
        return echo_decision(judge_bundle(data, keys, None, stage=stage, scope=scope), as_json=as_json)
    with company:
        decision = judge_bundle(data, keys, _promotions(company), stage=stage, scope=scope)
    return echo_decision(decision, as_json=as_json)


@bundle.command()
@click.argument("file", type=_FILE)
@click.option("--to", "stage", type=_stages, required=True, help="The stage to put it in force in.")
@click.option("--by", help="Who promotes it (default: git's user.email).")
@_trust_option
@_scope_option
@json_option
def promote(*, file: Path, stage: str, by: str | None, trust: Path | None, scope: str | None, as_json: bool) -> None:
    """Put a bundle in force in a stage: in order, with passing tests, by someone other than its author.

    Where there is an identity store, its table of bundles is brought up to date; the ledger's promotion counts.
    """
    from companyos.authz.bundles import BundleTrust, Candidate, promote_bundle

    candidate, keys = Candidate(_bytes(file), stage, by or _git_email()), BundleTrust.load(_trust(trust))
    with _required_company() as company:
        receipt = promote_bundle(candidate, keys, company.ledger, scope=scope)
        problem = _record(company, candidate.by) if company.keeps_identities else None
    if as_json:
        echo_json({"stage": stage, "entry": receipt.id, "index": receipt.index, "identity_problem": problem})
    else:
        click.echo(f"in force in {stage}: {receipt.id}, entry {receipt.index}")
    if problem is not None:
        click.echo(f"# the identity store was not told, the next promotion will: {problem}", err=True)


@bundle.command("list")
@click.option("--name", help="Only this bundle.")
@click.option("--all", "everything", is_flag=True, help="Every promotion, not only what is in force.")
@json_option
def list_bundles(*, name: str | None, everything: bool, as_json: bool) -> None:
    """List what is in force in each stage: version, digest, creator, and when it was promoted by whom."""
    with _required_company() as company:
        promotions = _promotions(company)
        found = promotions.entries if everything else promotions.current()
        rows = [_row(entry, company.ledger) for entry in found if name in {None, entry.name}]
    if as_json:
        echo_json(rows)
        return
    shown = ("name", "version", "stage", "digest", "created_by", "promoted_by", "time", "expires")
    echo_table(shown, [[_short(row[key]) for key in shown] for row in rows])


@bundle.command()
@click.argument("old", type=click.Path(exists=True, path_type=Path))
@click.argument("new", type=click.Path(exists=True, path_type=Path))
@click.option(
    "--requests", type=click.IntRange(1, 10_000_000), default=20_000, show_default=True, help="How many to try."
)
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the random part.")
@click.option(
    "--seconds", type=click.IntRange(1, 86_400), default=120, show_default=True, help="The longest to search."
)
@json_option
def diff(*, old: Path, new: Path, requests: int, seed: int, seconds: int, as_json: bool) -> int:
    """Search for requests that two bundles, or policy directories, decide differently.

    Exits 1 if one was found. A search never shows that there is none: it says how many requests were tried. Signatures
    are not looked at.
    """
    from companyos.authz.bundles.difference import find_difference
    from companyos.authz.metering import Limits

    limits = Limits(deadline_seconds=seconds, memory_bytes=2 * 1024**3)
    found = find_difference(_either(old), _either(new), requests=requests, seed=seed, limits=limits)
    if as_json:
        echo_json(found.to_dict())
    else:
        for change in found.changes:
            click.echo(f"{_side(change.old)}  →  {_side(change.new)}")
            click.echo(f"  {printable(_compact(change.request))}")
        click.echo(_summary(found))
    return 1 if found.changes else 0


def _summary(found: Any) -> str:
    ended = "" if found.complete else " (the search ended before all that were asked for)"
    if not found.changes:
        return f"none found in {found.tried} requests{ended}"
    kinds = "1 kind" if len(found.changes) == 1 else f"{len(found.changes)} kinds"
    return f"{kinds} of change, in {found.changed} of {found.tried} requests{ended}"


def _side(side: Any) -> str:
    obligations = ", ".join(item["id"] for item in side["obligations"])
    return printable(f"{side['decision']} {side['reason']}{f' [{obligations}]' if obligations else ''}")


def _compact(value: Any) -> str:
    import json

    return json.dumps(value, ensure_ascii=False, sort_keys=True)


def _either(path: Path) -> Bundle:
    """A bundle file, or a policy directory as a bundle that nobody keeps."""
    from companyos.authz.bundles import build_bundle

    if path.is_file():
        return _read(path)
    return build_bundle([path], created_by="diff", expires=_moment(None), name="compared", version="0")


def _read(path: Path) -> Bundle:
    from companyos.authz.bundles import Bundle

    return Bundle.from_bytes(_bytes(path))


def _bytes(path: Path) -> bytes:
    from companyos.authz.bundles.archive import MAX_PACKED_BYTES
    from companyos.authz.bundles.bundle import read_bytes

    return read_bytes(path, MAX_PACKED_BYTES)


def _write(path: Path, built: Bundle) -> None:
    """Write a bundle whole or not at all, so that nobody reads half of one."""
    draft = path.with_name(f".{path.name}.draft")
    try:
        draft.write_bytes(built.to_bytes())
        draft.replace(path)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise UserError(f"cannot write {path}", got=error.strerror) from error


def _show(built: Bundle, path: Path, *, as_json: bool) -> None:
    if as_json:
        signed = built.signatures is not None
        echo_json({**built.manifest.to_dict(), "digest": built.digest, "signed": signed, "file": str(path)})
    else:
        click.echo(f"{built.manifest.name} {built.manifest.version}  {built.digest}  {path}")


def _moment(text: str | None) -> datetime:
    if text is None:
        return (datetime.now(UTC) + timedelta(days=91)).replace(hour=0, minute=0, second=0, microsecond=0)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise click.UsageError(f"--expires is no moment: {text}; write 2027-01-31T00:00:00Z") from error
    if moment.tzinfo is None:
        raise click.UsageError(f"--expires has no zone: {text}; write 2027-01-31T00:00:00Z")
    return moment


def _git_email() -> str:
    try:
        found = subprocess.run(["git", "config", "user.email"], capture_output=True, text=True, timeout=10, check=False)  # noqa: S607 - the git of the one who calls
        name = found.stdout.strip()
    except (OSError, subprocess.SubprocessError):
        name = ""
    if not name:
        raise click.UsageError("who? --by NAME, or set git's user.email")
    return name


def _trust(given: Path | None) -> Path:
    here, found = Path("bundle-trust.yaml"), config.find(Path.cwd())
    if given is not None or here.is_file() or found is None:
        return given or here
    return found.parent / here


def _company() -> Company | None:
    from companyos.company import Company

    found = config.find(Path.cwd())
    return None if found is None else Company.open(found)


def _required_company() -> Company:
    company = _company()
    if company is None:
        raise ConfigError("there is no company here, and so no ledger", expected=f"a {config.FILE_NAME} here or above")
    return company


def _promotions(company: Company) -> Promotions:
    from companyos.authz.bundles import promotions_of

    return promotions_of(company.ledger)


def _record(company: Company, by: str) -> str | None:
    """Tell the identity store; what went wrong, which undoes no promotion."""
    from companyos.authz.bundles import record_promotions
    from companyos.authz.bundles.promotion import person_of
    from companyos.authz.identity import IdentityStore

    try:
        url = company.database_url(company.settings.identity.url)
        with IdentityStore.open(url, company.ledger, actor=person_of(by)) as store:
            record_promotions(store, company.ledger)
    except UserError as error:
        return printable(error.message)
    return None


def _row(entry: Any, ledger: Ledger) -> dict[str, Any]:
    people = _people(entry.index, ledger)
    return {
        "name": entry.name,
        "version": entry.version,
        "stage": entry.stage,
        "digest": entry.digest,
        "created_by": people.get("created_by") or entry.created_by,
        "promoted_by": people.get("promoted_by") or entry.promoted_by,
        "time": entry.time.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "expires": entry.expires,
        "key": entry.key,
        "archive": entry.archive,
        "entry": entry.index,
    }


def _people(index: int, ledger: Ledger) -> dict[str, Any]:
    """Names by role, as far as they were not erased."""
    from companyos.ledger import ErasedError

    try:
        return dict(ledger.reveal(next(ledger.read(index, index + 1))).data or {})
    except ErasedError:
        return {}


def _short(text: str) -> str:
    return text[:19] if text.startswith("sha256:") else text
