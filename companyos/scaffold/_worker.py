"""Runs Copier in a process of its own, so that its environment (and its cache) is ours alone.

Called as `python -m companyos.scaffold._worker JOB RESULT`; both are JSON files.
"""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path
from typing import Any

__all__ = ("main",)


def main(job_file: str, result_file: str) -> None:
    """Do the job and write `{"ok": true}` or `{"kind": ..., "error": ...}`."""
    job = json.loads(Path(job_file).read_text(encoding="utf-8"))
    Path(result_file).write_text(json.dumps(_run(job)), encoding="utf-8")


def _run(job: dict[str, Any]) -> dict[str, Any]:
    from copier import errors, run_copy, run_update

    # Copier warns on stderr about what it mends itself; a failure comes as an exception.
    warnings.simplefilter("ignore")
    work = run_update if job.pop("operation") == "update" else run_copy
    try:
        work(**job)
    except KeyboardInterrupt:
        return {"kind": "interrupted", "error": "interrupted"}
    except errors.InteractiveSessionError as error:
        return {"kind": "answers", "error": str(error)}
    except ValueError as error:
        return {"kind": "answers", "error": str(error)}
    except (errors.CopierError, OSError) as error:
        return {"kind": "render", "error": str(error) or type(error).__name__}
    return {"ok": True}


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
