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
        indexes = [entry.index for entry in company.ledger.read() if fnmatch.fnmatchcase(entry.type, entries)]
        report = Pack.build(
            out,
            subject=subject,
            revision=revision,
            evidence={name: path.read_bytes() for name, path in evidence.items()},
            ledger=company.ledger,
            entries=indexes,
            signer=PrivateKey.load_or_create(company.key_uri(company.settings.evidence.key)),
        )
    _show(report, as_json=as_json, heading=f"built {out}")
    return 0


@pack.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--trust", type=_FILES, help="Trust policy: keys by role.")
@click.option("--key", "keys", type=_FILES, multiple=True, help="Public key to trust for everything; may be repeated.")
@json_option
def verify(file: Path, trust: Path | None, keys: tuple[Path, ...], as_json: bool) -> int:
    """Check every claim of a pack, offline, with public keys alone."""
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
    else:
        out.write_text(text, encoding="utf-8")


def _own_policy(company: Company) -> str:
    import yaml

    from companyos.signing import PrivateKey

    evidence = PrivateKey.load_or_create(company.key_uri(company.settings.evidence.key)).public
    keys = [
        {"name": "ledger", "public_key": company.ledger.verifier.key.pem, "roles": ["ledger"]},
        {"name": "evidence", "public_key": evidence.pem, "roles": ["evidence"]},
    ]
    return yaml.safe_dump({"keys": keys}, sort_keys=False)


def _policy(trust: Path | None, keys: tuple[Path, ...]) -> TrustPolicy:
    from companyos.signing import PublicKey, TrustedKey, TrustPolicy

    if trust is not None:
        return TrustPolicy.load(trust)
    if not keys:
        raise UserError(
            "no keys to verify with", expected="--trust FILE or --key FILE", hint="ask the signer, never the pack"
        )
    roles = frozenset({"evidence", "ledger"})
    return TrustPolicy(
        keys=tuple(
            TrustedKey(name=str(path), public_key=PublicKey.load(f"file:{path}").pem, roles=roles) for path in keys
        )
    )


def _show(report: PackReport, *, as_json: bool, heading: str) -> None:
    if as_json:
        echo_json(report.to_dict())
        return
    claim = report.claim
    click.echo(heading)
    click.echo(f"  about: {claim.subject} {claim.revision or ''}".rstrip())
    click.echo(f"  signed: {claim.created:%Y-%m-%d %H:%M:%S} UTC by {', '.join(key[:16] for key in report.signers)}")
    click.echo(f"  ledger: {claim.origin}, {len(report.entries)} of {report.tree_size} entries proved")
    for kind, figures in report.summary.items():
        if kind != "not_supplied":
            click.echo(f"  {kind}: {_figures(figures)}")
    missing = report.summary["not_supplied"]
    if missing:
        click.echo(f"  {click.style('not supplied', fg='yellow')}: {', '.join(missing)}")


def _figures(figures: dict[str, object]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {_plain(value)}" for name, value in figures.items())


def _plain(value: object) -> str:
    if isinstance(value, list):
        return "; ".join(" ".join(map(str, item.values())) for item in value) or "none"
    return str(value)
