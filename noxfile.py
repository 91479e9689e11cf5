"""Every job of the project; CI runs the same ones. `nox -l` lists them, `make test` runs them as shards.

All sessions use the environment that `scripts/bootstrap.py test` made, except `minimums` and `bare`, which test other
environments: those are built in `.nox/` from their own lock files and rebuilt when these change.
"""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
from pathlib import Path

import nox

ROOT = Path(__file__).resolve().parent
PYTHON = Path(sys.executable)
REPORTS = "build/reports"
APART = ("templates", "e2e", "soak", "bare", "docs")
"""Markers of tests that have a session of their own."""

OWN = (
    "tests/house",
    *(
        f"tests/ledger/test_{name}.py"
        for name in (
            "attacks",
            "concurrency",
            "erasure_formats",
            "erasure_keys",
            "fuzz",
            "kills",
            "replay",
            "store_damage",
            "tilelog",
            "witness",
        )
    ),
    *(f"tests/state/test_{name}.py" for name in ("faults", "history", "killed_clients")),
    *(
        f"tests/authz/test_{name}.py"
        for name in (
            "bundle_adversarial",
            "bundle_difference",
            "bundle_in_force",
            "bundle_promotion",
            "cedar_lifecycle",
            "isolated",
            "nesting",
            "prove_remote",
        )
    ),
    "tests/authz/identity/test_store_and_log.py",
    *(
        f"tests/server/test_{name}.py"
        for name in ("fairness", "promoted", "reload", "reload_batched", "retry", "subjects")
    ),
    *(f"tests/finops/test_{name}.py" for name in ("anomalies", "forecasting", "reconciliation")),
    "tests/finops/budgets/test_proof.py",
    "tests/cli/test_prove.py",
    "tests/floor/test_canonical_fuzz.py",
    "tests/services/test_not_run.py",
)
"""Tests of what is our own alone, at length; other versions of libraries change nothing about it."""

nox.options.default_venv_backend = "none"
nox.options.sessions = ["lint", "types", "tests", "docs"]


@nox.session
def tests(session: nox.Session) -> None:
    """Unit tests of all rooms, with real servers."""
    run_pytest(session, "-m", f"not ({' or '.join(APART)})", "-n", "4", "--dist", "worksteal")


@nox.session
def types(session: nox.Session) -> None:
    """Mypy, strict."""
    session.run(str(PYTHON), "scripts/checks.py", "types")


@nox.session
def lint(session: nox.Session) -> None:
    """Ruff, the floors of the house (import-linter), and text that can drift."""
    session.run(str(PYTHON), "scripts/checks.py", "lint")


@nox.session
def templates(session: nox.Session) -> None:
    """Render every template with its defaults, install what comes out, run its own tests and its smoke suite."""
    run_pytest(session, "-m", "templates and not soak")


@nox.session
def e2e(session: nox.Session) -> None:
    """Whole commands in processes of their own, as a user runs them."""
    run_pytest(session, "-m", "e2e and not soak")


@nox.session
def docs(session: nox.Session) -> None:
    """Run the code of every documentation page."""
    run_pytest(session, "-m", "docs")


@nox.session
def bench(session: nox.Session) -> None:
    """Measure; writes build/bench/*.json. `nox -s bench -- --gate` fails where a bar is missed."""
    programs = sorted(Path("benchmarks").glob("bench_*.py"))
    for program in programs:
        session.run(str(PYTHON), str(program), *session.posargs)


@nox.session
def demo(session: nox.Session) -> None:
    """The demo, in a fresh folder under the temporary directory."""
    with tempfile.TemporaryDirectory(prefix="companyos-demo-") as folder:
        session.run(str(PYTHON.with_name("companyos")), "demo", str(Path(folder) / "demo"), *session.posargs)


@nox.session
def minimums(session: nox.Session) -> None:
    """Unit tests with the lowest versions of all direct dependencies that pyproject.toml allows."""
    python = environment(session, "minimums")
    ignored = [part for name in OWN for part in ("--ignore", name)]
    run_pytest(session, "-m", f"not ({' or '.join(APART)})", *ignored, "-n", "4", "--dist", "worksteal", python=python)


@nox.session
def bare(session: nox.Session) -> None:
    """Without any extra, every public module imports or says in one line what to install."""
    python = environment(session, "bare")
    run_pytest(session, "-m", "bare", "tests/bare", python=python)


@nox.session
def soak(session: nox.Session) -> None:
    """Full-size figures: a million entries, long fault runs, whole option matrices."""
    run_pytest(session, "-m", "soak", "--timeout", "0")


def run_pytest(session: nox.Session, *arguments: str, python: Path = PYTHON) -> None:
    """Run a selection of the tests, with a JUnit file named after the session."""
    report = f"--junit-xml={REPORTS}/{session.name}.xml"
    options = ("-o", f"junit_suite_name={session.name}", "-p", "no:cacheprovider", "-q", report)
    session.run(str(python), "-m", "pytest", *options, *arguments, *session.posargs)


def environment(session: nox.Session, name: str) -> Path:
    """The interpreter of an environment installed from `requirements/NAME.txt`, made anew when that changes."""
    lock = f"requirements/{name}.txt"
    inputs = (lock, "pyproject.toml", "companyos/_version.py", "noxfile.py")
    digest = hashlib.sha256(b"".join(Path(path).read_bytes() for path in inputs) + sys.version.encode()).hexdigest()
    folder = ROOT / ".nox" / name
    stamp, python = folder / ".ready", folder / "bin" / "python"
    if stamp.is_file() and stamp.read_text() == digest and python.exists():
        return python
    uv = str(PYTHON.with_name("uv"))
    cache = {
        "UV_CACHE_DIR": os.environ.get("UV_CACHE_DIR", str(ROOT / ".cache" / "uv")),
        "UV_PYTHON_DOWNLOADS": "never",
    }
    if "PIP_CERT" in os.environ:
        cache["SSL_CERT_FILE"] = os.environ.get("SSL_CERT_FILE", os.environ["PIP_CERT"])
    install = (uv, "pip", "install", "--quiet", "--python", str(python))
    session.run(uv, "venv", "--quiet", "--seed", "--clear", "--python", str(PYTHON), str(folder), env=cache)
    session.run(*install, "--require-hashes", "-r", lock, env=cache)
    session.run(*install, "--no-deps", "--no-build-isolation", "-e", ".", env=cache)
    stamp.write_text(digest)
    return python
