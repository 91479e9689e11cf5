"""`companyos packages`: are the packages that lock files name real?"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from companyos.cli.output import echo_decision, json_option, write_whole
from companyos.errors import UserError

if TYPE_CHECKING:
    from companyos.guardrails.tree import Tree

__all__ = ("packages",)

_index_option = click.option(
    "--package-index", metavar="URL|DIR|FILE", help="Look packages up there instead of pip's configured index."
)


@click.group()
def packages() -> None:
    """Check that declared packages exist, are pinned, and are the ones that were locked."""


@packages.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@_index_option
@click.option("--offline", is_flag=True, help="Do not use the network; what then cannot be looked up is undetermined.")
@json_option
def verify(files: tuple[Path, ...], package_index: str | None, *, offline: bool, as_json: bool) -> int:
    """Hold every package that FILES declare against the index.

    Reads requirement files, pyproject.toml, uv.lock, poetry.lock, pylock.toml, package.json and package-lock.json.
    Exit status: 0 all are real and pinned, 1 findings, 3 the index did not answer.
    """
    from companyos.guardrails.packages import open_index, verify_packages
    from companyos.guardrails.packages.verify import DETECTORS

    tree = _opened(files)
    judged = {rule: detect for rule, detect in DETECTORS.items() if rule != "G03.unprovided-import"}
    index = open_index(package_index, offline=offline)
    return echo_decision(verify_packages(tree, index, only=tree.texts, detectors=judged), as_json=as_json)


@packages.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--output", required=True, type=click.Path(path_type=Path), help="The file to write.")
@_index_option
def snapshot(files: tuple[Path, ...], output: Path, package_index: str | None) -> None:
    """Write down what the index says now of every package in FILES, for checks without a network."""
    from companyos.guardrails.packages import open_index, take_snapshot

    data = take_snapshot(_opened(files), open_index(package_index))
    write_whole(output, json.dumps(data, indent=1, sort_keys=True) + "\n")
    click.echo(f"{sum(map(len, data.values()))} packages in {output}", err=True)


def _opened(files: tuple[Path, ...]) -> Tree:
    from companyos.guardrails.packages.manifests import read_manifest
    from companyos.guardrails.tree import Tree

    for file in files:
        if not file.is_file():
            raise UserError("no such file", got=file, expected="a file that declares dependencies")
        if read_manifest(file.name, "", named=True) is None:
            raise UserError(
                "not a file that declares dependencies",
                got=file,
                expected="a requirement file, pyproject.toml, a Python lock file, package.json or its lock file",
            )
    root = Path(os.path.commonpath([file.resolve().parent for file in files]))
    return Tree.open(root, only=[file.resolve().relative_to(root).as_posix() for file in files])
