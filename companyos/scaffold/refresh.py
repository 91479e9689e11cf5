"""Bring a repository to the template of this installation, in a scratch clone, and hand over only what is clean."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from companyos.config import parse_yaml
from companyos.errors import UnverifiableError
from companyos.scaffold.errors import ScaffoldError, UpdateRefusedError
from companyos.scaffold.git import git, require_git
from companyos.scaffold.pin import Pin, find_pin, pin_wheel, vendor
from companyos.scaffold.render import rerender
from companyos.scaffold.store import PUBLIC_URL, Template, TemplateStore, cache_directory, carried_template

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ("Updated", "update")

ANSWERS = ".copier-answers.yml"
_MARKERS = ("<<<<<<< ", "||||||| ", ">>>>>>> ")
_ROUNDS = 3
"""A second update must change nothing; one more leaves room for a template that settles late."""


@dataclass(frozen=True, slots=True)
class Updated:
    """What an update did."""

    path: Path
    """The repository."""
    before: Template
    """The template it was on."""
    after: Template
    """The template it is on now."""
    files: tuple[str, ...]
    """Files that differ from the last commit, relative, sorted; empty if it was up to date."""


def update(
    dest: Path,
    *,
    companyos_wheel: Path | None = None,
    to: Template | None = None,
    store: TemplateStore | None = None,
) -> Updated:
    """Update the repository at `dest` to the template of this installation, leaving the changes uncommitted.

    The companyos that it pins becomes `companyos_wheel`, or the one that runs now. The work is done in a clone. Only
    when Copier's result has no conflict and a second run changes nothing is it applied to `dest`. Offline as long as
    the cache holds the template that `dest` was born from.

    Raises:
        ScaffoldError: `dest` was not rendered from a template, or is not a Git work tree.
        UpdateRefusedError: uncommitted changes, or the new template conflicts with local edits; nothing was changed.
        UnverifiableError: the old template is not in the cache, so nothing can be compared.
        PinError: no companyos wheel to pin was found.
    """
    require_git()
    path = dest.resolve()
    answers = _answers(path)
    store = store or TemplateStore(cache_directory())
    after = to or carried_template(store)
    before = _born_from(store, answers)
    if before.tag == after.tag:
        return Updated(path, before, after, ())
    if git(path, ["status", "--porcelain"]):
        raise UpdateRefusedError("there are uncommitted changes", got=path, hint="commit or stash them first")
    pin = pin_wheel(companyos_wheel) if companyos_wheel else find_pin()
    with tempfile.TemporaryDirectory(prefix="companyos-update-") as scratch, store.published(before, after) as public:
        clone = Path(scratch, path.name)
        git(path, ["clone", "--quiet", "--no-hardlinks", path, clone])
        base = git(clone, ["rev-parse", "HEAD"])
        _settle(public, after, clone, pin)
        files = _hand_over(clone, base, path)
    return Updated(path, before, after, files)


def _hand_over(clone: Path, base: str, path: Path) -> tuple[str, ...]:
    """Apply to the work tree `path` what `clone` has beyond the commit `base`, and name the files."""
    files = tuple(sorted(git(clone, ["diff", "--name-only", "--no-renames", base, "HEAD"]).splitlines()))
    if files:
        patch = clone.with_name("update.patch")
        git(clone, ["diff", "--binary", "--no-renames", f"--output={patch}", base, "HEAD"])
        git(path, ["apply", "--index", patch])
    return files


def _answers(path: Path) -> Mapping[str, Any]:
    try:
        values = parse_yaml((path / ANSWERS).read_text(encoding="utf-8"), ANSWERS)
    except OSError as error:
        raise ScaffoldError(
            "this is not a repository from a template", got=error, expected=f"a {ANSWERS} in {path}"
        ) from error
    if not isinstance(values, dict) or values.get("_src_path") != PUBLIC_URL or not values.get("_commit"):
        raise ScaffoldError(
            f"{ANSWERS} does not name our template", got=str(values)[:100], expected=f"_src_path: {PUBLIC_URL}"
        )
    return values


def _born_from(store: TemplateStore, answers: Mapping[str, Any]) -> Template:
    tag, commit = str(answers["_commit"]), answers.get("_template_commit")
    found = store.find(tag, commit)
    if found is None:
        raise UnverifiableError(
            f"the template {tag} that this repository was born from is not in the cache",
            got=commit,
            hint="run once with the companyos of that version: it puts its template into the cache",
        )
    return found


def _settle(public: Path, after: Template, clone: Path, pin: Pin) -> None:
    """Update until nothing changes any more, each round a commit of the clone."""
    data = {"companyos_source": pin.source, "companyos_sha256": pin.sha256}
    for _ in range(_ROUNDS):
        rerender(public, after.tag, clone, data)
        _refuse_conflicts(clone)
        vendor(clone, pin)
        if not git(clone, ["status", "--porcelain"]):
            return
        git(clone, ["add", "--all"])
        identity = ["-c", "user.name=companyos update", "-c", "user.email=companyos@localhost.invalid"]
        git(clone, [*identity, "commit", "--quiet", "--message", "chore: template update"])
    raise UpdateRefusedError("the update does not settle", got=f"changes after {_ROUNDS} rounds")


def _refuse_conflicts(clone: Path) -> None:
    """Refuse unmerged files, leftover markers in changed files, and `.rej` files."""
    bad = set(git(clone, ["diff", "--name-only", "--diff-filter=U"]).splitlines())
    for line in git(clone, ["status", "--porcelain", "--untracked-files=all", "--no-renames"]).splitlines():
        name = line[3:].strip('"')
        file = clone / name
        if name.endswith(".rej") or (file.is_file() and _has_markers(file)):
            bad.add(name)
    if bad:
        raise UpdateRefusedError(
            "the new template conflicts with local edits; nothing was changed",
            got=", ".join(sorted(bad)),
            hint="move the local edit out of those files, commit, and update again",
        )


def _has_markers(file: Path) -> bool:
    text = file.read_bytes().decode("utf-8", "replace")
    return any(line.startswith(_MARKERS) for line in text.splitlines())
