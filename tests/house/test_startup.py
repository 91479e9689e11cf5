"""Starting up loads next to nothing; figures are measured by benchmarks/bench_startup.py."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

HEAVY = {
    "copier",
    "cryptography",
    "duckdb",
    "importlib.metadata",
    "jinja2",
    "jsonschema",
    "opentelemetry",
    "pluggy",
    "psycopg",
    "pydantic",
    "regorus",
    "rfc8785",
    "rich",
    "sigstore",
    "sqlite3",
    "structlog",
    "yaml",
}
"""Each costs tens of milliseconds, or pulls something in that does."""
CASES = {
    "import": ("import companyos", HEAVY | {"click", "dataclasses", "inspect", "pathlib", "asyncio"}),
    "--version": ("from companyos.cli import main; main(['--version'])", HEAVY | {"click", "dataclasses", "inspect"}),
    "--help": ("from companyos.cli import main; main(['--help'])", HEAVY),
}


@pytest.mark.parametrize("case", CASES)
def test_nothing_heavy_is_loaded(case):
    """`import companyos`, `--version` and `--help` load no library that costs."""
    code, forbidden = CASES[case]
    report = (
        f"import sys\nbefore = set(sys.modules)\n{code}\nimport json\nprint()\nprint(json.dumps(sorted(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-I", "-c", report], capture_output=True, text=True, check=True)
    before = subprocess.run(
        [sys.executable, "-I", "-c", "import sys, json; print(json.dumps(sorted(sys.modules)))"],
        capture_output=True,
        text=True,
        check=True,
    )
    added = set(json.loads(result.stdout.splitlines()[-1])) - set(json.loads(before.stdout))

    assert set() == added & forbidden


def test_every_public_name_loads_on_use():
    """Each name that `companyos` promises and that is there can be reached, and `dir` lists them all."""
    import companyos

    assert set(companyos.__all__) <= set(dir(companyos))
    assert companyos.CompanyOSError.code == "internal"
    with pytest.raises(AttributeError, match="no attribute 'Compnay'"):
        _ = companyos.Compnay
