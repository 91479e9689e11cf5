"""Copier, with the public repository replaced by the cache for the length of one call."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from companyos.scaffold.errors import AnswersError, ScaffoldError
from companyos.scaffold.git import environment, require_git
from companyos.scaffold.store import PUBLIC_URL

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ("render", "rerender")


def render(
    published: Path, tag: str, target: Path, data: Mapping[str, Any], *, suggested: Mapping[str, Any], ask: bool
) -> None:
    """Render the template at `tag` of the repository `published` into `target`, recording the public URL.

    `suggested` are defaults that an answer in `data` or at the prompt overrules; `ask` allows a prompt.

    Raises:
        AnswersError: an answer does not validate.
        ScaffoldError: the template could not be rendered.
    """
    _copier(
        published,
        operation="copy",
        src_path=PUBLIC_URL,
        dst_path=str(target),
        vcs_ref=tag,
        data=dict(data),
        user_defaults=dict(suggested),
        defaults=not ask,
        quiet=not ask,
    )


def rerender(published: Path, tag: str, repository: Path, data: Mapping[str, Any]) -> None:
    """Bring `repository`, a clean Git work tree, to `tag`; conflicts are left as markers in the files.

    Raises:
        AnswersError: a recorded answer does not validate any more.
        ScaffoldError: the template could not be rendered.
    """
    _copier(
        published,
        operation="update",
        dst_path=str(repository),
        vcs_ref=tag,
        data=dict(data),
        defaults=True,
        overwrite=True,
        quiet=True,
    )


def _copier(published: Path, **job: Any) -> None:
    require_git()
    with tempfile.TemporaryDirectory(prefix="companyos-copier-") as scratch:
        job_file, result_file = Path(scratch, "job.json"), Path(scratch, "result.json")
        job_file.write_text(json.dumps(job), encoding="utf-8")
        settings = {f"url.{published}.insteadOf": PUBLIC_URL, "safe.directory": "*", "protocol.file.allow": "always"}
        # Copier keeps mirrors by URL; ours changes from call to call, so its cache must not outlive this one.
        env = environment(settings) | {"COPIER_CACHE_DIR": str(Path(scratch, "mirrors"))}
        done = subprocess.run(
            [sys.executable, "-m", "companyos.scaffold._worker", job_file, result_file],
            env=env,
            stdout=sys.stderr if job.get("quiet") is False else subprocess.PIPE,
            stderr=None if job.get("quiet") is False else subprocess.PIPE,
            text=True,
            check=False,
        )
        _judge(result_file, done.stderr or "")


def _judge(result_file: Path, stderr: str) -> None:
    if not result_file.is_file():
        raise ScaffoldError("the template engine stopped without a result", got=stderr[-400:] or "no output")
    result = json.loads(result_file.read_text(encoding="utf-8"))
    if result.get("ok"):
        return
    if result["kind"] == "interrupted":
        raise KeyboardInterrupt
    if result["kind"] == "answers":
        raise AnswersError(
            "an answer does not validate", got=result["error"], hint="give another with --data NAME=VALUE"
        )
    raise ScaffoldError("the template could not be rendered", got=result["error"])
