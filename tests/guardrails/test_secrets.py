"""What G02 sees of text, and that it sees it in bounded time."""

from __future__ import annotations

import subprocess
import sys

import pytest

_LONG_LINES = """
import resource
resource.setrlimit(resource.RLIMIT_CPU, (10, 10))
from companyos.guardrails.secrets.detectors import DETECTORS
text = (sys.argv[1] * (1_000_000 // len(sys.argv[1]) + 1))[:1_000_000]
for path in ("app.min.js", "prod.env"):
    for detect in DETECTORS.values():
        for _ in detect(path, text):
            continue
print("done")
"""


@pytest.mark.parametrize(
    "piece",
    ["a", "token", "token ", "tokena.", "-eyJaaaaaaaaaa", "redis+", "host=;password=", "awsaccesskey", "https://a:"],
)
def test_a_megabyte_on_one_line_costs_no_more_than_its_length(piece):
    """Work that grew with the square of a line would take hours here: ten seconds of processor time suffice."""
    command = [sys.executable, "-c", f"import sys\n{_LONG_LINES}", piece]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)

    assert (0, "done\n") == (done.returncode, done.stdout)
