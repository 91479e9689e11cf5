"""`companyos pack`: build, verify and show evidence packs."""

from __future__ import annotations

import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING

import click

from companyos.cli.output import echo_json, echo_table, json_option
from companyos.errors import UserError

if TYPE_CHECKING:
    from companyos.company import Company
    from companyos.evidence import PackReport
    from companyos.signing import TrustPolicy

__all__ = ("pack",)

_FILES = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.group()
def pack() -> None:
    """Build, verify and show evidence packs."""


@pack.command()
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The file to write, NAME.cpack.")
@click.option("--subject", required=True, help="What the evidence is about, for example `orders`.")
@click.option("--revision", help="Its revision, for example a commit.")
@click.option("--tests", type=_FILES, multiple=True, help="JUnit XML file; may be repeated.")
@click.option("--findings", type=_FILES, multiple=True, help="SARIF 2.1.0 file; may be repeated.")
@click.option("--sbom", type=_FILES, multiple=True, help="CycloneDX JSON file; may be repeated.")
@click.option("--cost", type=_FILES, multiple=True, help="Cost note or gate decision; may be repeated.")
@click.option("--entries", default="companyos.*", show_default=True, help="Glob over types of ledger entries to prove.")
@json_option
def build(
    *,
    out: Path,
    subject: str,
    revision: str | None,
    tests: tuple[Path, ...],
    findings: tuple[Path, ...],
    sbom: tuple[Path, ...],
    cost: tuple[Path, ...],
    entries: str,
    as_json: bool,
) -> int:
    """Build a signed pack out of evidence files and the company's ledger."""
    from companyos.company import Company
    from companyos.evidence import Pack
    from companyos.signing import PrivateKey

    folders = {"tests": tests, "findings": findings, "sbom": sbom, "cost": cost}
    evidence = {f"{folder}/{path.name.lower()}": path for folder, paths in folders.items() for path in paths}
    if len(evidence) != sum(map(len, folders.values())):
        raise UserError("two evidence files of one kind have the same name", hint="rename one of them")
    with Company.open() as company:
        known = company.ledger.read(0, len(company.ledger))
        indexes = [entry.index for entry in known if fnmatch.fnmatchcase(entry.type, entries)]
        report = Pack.build(
            out,
            subject=subject,
            revision=revision,
            evidence={name: _content(path) for name, path in evidence.items()},
            ledger=company.ledger,
            entries=indexes,
            signer=PrivateKey.load_or_create(company.key_uri(company.settings.evidence.key)),
        )
    _show(report, as_json=as_json, heading=f"built {out}")
    return 0


@pack.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--trust", type=_FILES, help="Trust policy: keys by role. Default: that of companyos.yaml.")
@click.option("--key", "keys", type=_FILES, multiple=True, help="Public key to trust for everything; may be repeated.")
@json_option
def verify(file: Path, trust: Path | None, keys: tuple[Path, ...], as_json: bool) -> int:
    """Check every claim of a pack, offline, with public keys alone.

    Without --trust and --key, the policy that companyos.yaml names at trust.policy is used.
    """
    from companyos.evidence import Pack

    report = Pack.verify(file, _policy(trust, keys))
    _show(report, as_json=as_json, heading=f"{click.style('VERIFIED', fg='green')} {file}")
    return 0


@pack.command()
@click.argument("file", type=click.Path(path_type=Path))
@json_option
def show(file: Path, as_json: bool) -> None:
    """List the members of a pack; nothing is verified."""
    from companyos.evidence import Pack

    members = Pack.members(file)
    if as_json:
        echo_json({name: len(content) for name, content in members.items()})
        return
    click.echo("not verified: use `companyos pack verify`", err=True)
    echo_table(("member", "bytes"), [(name, len(content)) for name, content in members.items()])


@pack.command()
@click.option("--out", type=click.Path(path_type=Path), help="File to write; default: standard output.")
def trust(out: Path | None) -> None:
    """Write the trust policy with which others can verify this company's packs: public keys only."""
    from companyos.company import Company

    with Company.open() as company:
        text = _own_policy(company)
    if out is None:
        click.echo(text, nl=False)
        return
    try:
        out.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UserError(f"cannot write {out}", got=error.strerror, hint="choose a writable directory") from error


def _own_policy(company: Company) -> str:
    """Keys that were rotated out are in it too, without an end: what they signed while they counted stays good."""
    import yaml

    from companyos.signing import PrivateKey, retired

    settings = company.settings
    uris = {"ledger": company.key_uri(settings.ledger.key), "evidence": company.key_uri(settings.evidence.key)}
    current = {
        "ledger": company.ledger.verifier.key,
        "evidence": PrivateKey.load_or_create(uris["evidence"]).public,
    }
    keys = [
        {"name": name, "public_key": key.pem, "roles": [role]}
        for role, uri in uris.items()
        for name, key in [(role, current[role]), *((f"{role}-{old.key_id[:16]}", old) for old in retired(uri))]
    ]
    return yaml.safe_dump({"keys": keys}, sort_keys=False)


def _policy(trust: Path | None, keys: tuple[Path, ...]) -> TrustPolicy:
    from companyos.signing import TrustPolicy

    if trust is not None and keys:
        raise UserError("--trust and --key together", expected="one of them", hint="add the key to the trust policy")
    if keys:
        return _policy_of(keys)
    chosen = trust or _configured_policy()
    if chosen is None:
        raise UserError(
            "no keys to verify with",
            expected="--trust FILE, --key FILE, or trust.policy in companyos.yaml",
            hint="ask the signer for public keys, and never take them from the pack",
        )
    return TrustPolicy.load(chosen)


def _configured_policy() -> Path | None:
    from companyos.company import Company

    with Company.open() as company:
        policy = company.settings.trust.policy
        return None if policy is None else company.root / policy


def _policy_of(keys: tuple[Path, ...]) -> TrustPolicy:
    from companyos.signing import PublicKey, TrustedKey, TrustPolicy

    roles = frozenset({"evidence", "ledger"})
    by_id: dict[str, TrustedKey] = {}
    for path in keys:
        key = PublicKey.load(f"file:{path}")
        if key.key_id in by_id:
            raise UserError("--key names the same key twice", got=f"{by_id[key.key_id].name} and {path}")
        by_id[key.key_id] = TrustedKey(name=str(path), public_key=key.pem, roles=roles)
    return TrustPolicy(keys=tuple(by_id.values()))


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"cannot read {path}", got=error.strerror, hint="check the path") from error


def _show(report: PackReport, *, as_json: bool, heading: str) -> None:
    if as_json:
        echo_json(report.to_dict())
        return
    claim = report.claim
    click.echo(heading)
    click.echo(f"  about: {claim.subject} {claim.revision or ''}".rstrip())
    click.echo(f"  signed: {claim.created:%Y-%m-%d %H:%M:%S} UTC by {', '.join(key[:16] for key in report.signers)}")
    click.echo(f"  logged: {report.logged:%Y-%m-%d %H:%M:%S} UTC")
    click.echo(f"  ledger: {claim.origin}, {len(report.entries)} of {report.tree_size} entries proved")
    for kind, figures in report.summary.items():
        if kind != "version":
            click.echo(f"  {kind}: {_figures(figures)}")
    if report.not_supplied:
        click.echo(f"  {click.style('not supplied', fg='yellow')}: {', '.join(report.not_supplied)}")


def _figures(figures: dict[str, object]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {_plain(value)}" for name, value in figures.items())


def _plain(value: object) -> str:
    """Text out of a pack, with whatever could drive a terminal spelt out."""
    if isinstance(value, list):
        return "; ".join(" ".join(map(_plain, item.values())) for item in value) or "none"
    text = str(value)
    return text if text.isprintable() else repr(text)
