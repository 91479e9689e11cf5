"""A new repository: rendered beside its destination, pinned, committed, and only then moved into place."""

from __future__ import annotations

import difflib
import os
import re
import shutil
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from companyos.config import parse_yaml
from companyos.scaffold.errors import AnswersError, DestinationError, ScaffoldError
from companyos.scaffold.git import git, require_git
from companyos.scaffold.pin import Pin, find_pin, pin_wheel, vendor
from companyos.scaffold.render import render
from companyos.scaffold.store import Template, TemplateStore, cache_directory, carried_template

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

__all__ = ("Created", "kinds", "new")


_TRUTHS = frozenset({"false", "no", "true", "yes"})


@dataclass(frozen=True, slots=True)
class Created:
    """A repository that was born, or would be."""

    kind: str
    """Which template."""
    path: Path
    """Where it is (or would be), absolute."""
    template: Template
    """The template it was rendered from."""
    pin: Pin
    """The companyos it accepts."""
    files: tuple[str, ...]
    """Every file of it, relative, sorted."""
    commit: str | None
    """Its first commit; None without Git or after a dry run."""

    def to_dict(self) -> dict[str, Any]:
        """The same as a JSON object."""
        return {
            "kind": self.kind,
            "path": str(self.path),
            "template": {"tag": self.template.tag, "commit": self.template.commit},
            "companyos": {"source": self.pin.source, "sha256": self.pin.sha256},
            "files": list(self.files),
            "commit": self.commit,
        }


def kinds(store: TemplateStore | None = None) -> tuple[str, ...]:
    """The kinds of repository that are offered."""
    store = store or TemplateStore(cache_directory())
    return _kinds(_questions(store, carried_template(store)))


def new(
    kind: str,
    dest: Path,
    data: Mapping[str, Any] | None = None,
    *,
    companyos_wheel: Path | None = None,
    ask: bool = False,
    use_git: bool = True,
    dry_run: bool = False,
    progress: Callable[[str], None] = lambda _: None,
) -> Created:
    """Make a repository of `kind` at `dest`, which must not exist or be an empty directory.

    `data` answers questions of the template by name; with `ask` the others are asked on the terminal, otherwise they
    take their defaults. Nothing is left behind when it fails.

    Raises:
        AnswersError: an unknown kind or question, or an answer that does not validate.
        DestinationError: the destination is taken or cannot be written.
        MissingToolError: git is not installed.
        PinError: no companyos wheel to pin was found.
    """
    require_git()
    target = _free(dest)
    answers = dict(data or {})
    store = TemplateStore(cache_directory())
    template = carried_template(store)
    _check_names(kind, answers, _questions(store, template))
    progress("pinning companyos")
    pin = _pin(answers, companyos_wheel)
    answers |= {"template": kind, "companyos_source": pin.source, "companyos_sha256": pin.sha256}
    with _beside(target, dry_run=dry_run) as draft:
        progress(f"rendering {kind} from template {template.tag}")
        with store.published(template) as published:
            render(published, template.tag, draft, answers, suggested={"project_name": _slug(target.name)}, ask=ask)
        vendor(draft, pin)
        files = tuple(sorted(path.relative_to(draft).as_posix() for path in draft.rglob("*") if path.is_file()))
        commit = None
        if use_git and not dry_run:
            progress("first commit")
            commit = _first_commit(draft, f"feat: {kind} service from CompanyOS template {template.tag}")
        if not dry_run:
            _move(draft, target)
    return Created(kind, target, template, pin, files, commit)


def _free(dest: Path) -> Path:
    target = dest.absolute()
    try:
        if target.is_symlink() or (target.exists() and not target.is_dir()):
            raise DestinationError("the destination is taken", got=target, expected="a new or empty directory")
        if target.is_dir() and any(target.iterdir()):
            raise DestinationError(
                "the destination is not empty", got=target, expected="a new or empty directory", hint="choose another"
            )
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        if isinstance(error, DestinationError):
            raise
        raise DestinationError("the destination cannot be used", got=error, hint="choose another directory") from error
    return target


def _slug(name: str) -> str:
    """A directory's name as the template spells names; what cannot be spelt so is left to its validator."""
    return re.sub(r"[\s_.]+", "-", name).strip("-").lower()


@contextmanager
def _beside(target: Path, *, dry_run: bool) -> Iterator[Path]:
    """A directory on the destination's own file system, so that the last step is one rename."""
    parent = None if dry_run else target.parent
    try:
        scratch = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=parent))
    except OSError as error:
        raise DestinationError(
            "the directory cannot be written", got=error, expected=f"a writable {parent}", hint="choose another"
        ) from error
    try:
        yield scratch / "draft"
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _questions(store: TemplateStore, template: Template) -> dict[str, Any]:
    parsed: dict[str, Any] = parse_yaml(store.read(template, "copier.yml"), "copier.yml")
    return {name: question for name, question in parsed.items() if not name.startswith("_")}


def _kinds(questions: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(questions["template"]["choices"].values())


def _check_names(kind: str, answers: Mapping[str, Any], questions: Mapping[str, Any]) -> None:
    offered = _kinds(questions)
    if kind not in offered:
        raise AnswersError("this kind is not offered", got=kind, expected=" or ".join(offered))
    for name in answers:
        if name not in questions:
            near = difflib.get_close_matches(name, questions, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"questions: {', '.join(questions)}"
            raise AnswersError("the template has no such question", got=name, hint=hint)
        _check_type(name, str(answers[name]), questions[name].get("type", "str"))


def _check_type(name: str, value: str, kind: str) -> None:
    """Refuse what Copier would convert to something else, or refuse without saying which question it was."""
    if kind == "int" and not re.fullmatch(r"-?\d{1,18}", value):
        raise AnswersError(f"{name} is not a whole number", got=value, expected="digits")
    if kind == "bool" and value.lower() not in _TRUTHS:
        raise AnswersError(f"{name} is neither yes nor no", got=value, expected=", ".join(sorted(_TRUTHS)))


def _pin(answers: Mapping[str, Any], wheel: Path | None) -> Pin:
    if wheel is not None:
        return pin_wheel(wheel)
    if answers.get("companyos_sha256"):
        if not answers.get("companyos_source"):
            raise AnswersError("companyos_sha256 is given without companyos_source", hint="give both, or neither")
        return Pin(str(answers["companyos_source"]), str(answers["companyos_sha256"]))
    return find_pin()


def _first_commit(draft: Path, message: str) -> str:
    git(draft, ["init", "--quiet", "--initial-branch=main"])
    git(draft, ["add", "--all"])
    git(draft, ["commit", "--quiet", "--message", message], env=_identity(draft))
    return git(draft, ["rev-parse", "HEAD"])


def _identity(draft: Path) -> dict[str, str]:
    """Nothing if the user has an identity; otherwise one that says who really made the commit."""
    if os.environ.get("GIT_AUTHOR_EMAIL") and os.environ.get("GIT_COMMITTER_EMAIL"):
        return {}
    try:
        git(draft, ["config", "user.email"])
        git(draft, ["config", "user.name"])
    except ScaffoldError:
        return {
            f"GIT_{who}_{what}": value
            for who in ("AUTHOR", "COMMITTER")
            for what, value in (("NAME", "companyos new"), ("EMAIL", "companyos@localhost.invalid"))
        }
    return {}


def _move(draft: Path, target: Path) -> None:
    try:
        draft.rename(target)
    except OSError as error:
        raise DestinationError("the destination was taken meanwhile", got=error, hint="choose another") from error
