"""Residency: what may leave, what may not, and what cannot be judged; through the front door."""

from __future__ import annotations

import csv
import json
import logging
import subprocess
import sys
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from companyos.cli import main
from companyos.ledger import Ledger
from companyos.llm.residency import (
    COLUMNS,
    REFUSAL,
    ResidencyFileError,
    ResidencyGuard,
    ResidencyPolicy,
    ResidencyRefusedError,
    judge_vendor,
    parse_endpoint,
    shipped_places,
)

ROOT = Path(__file__).resolve().parent.parent.parent
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC).timestamp()
URL = "https://api.eu.mistral.ai/v1"
SEED = """
vendors:
  openai:
    region: eu-west-1
    endpoint: "https://api.openai.com/v1"
    data_retention: false
    training_data_opt_out: true
    logging_enabled: false
    compliance: [GDPR, EU AI Act]
  local:
    region: on-premise
    endpoint: "http://localhost:8080"
    data_retention: true
    training_data_opt_out: true
    logging_enabled: true
enforcement:
  block_non_eu_requests: true
  alert_on_violation: true
  log_all_requests: true
"""
GOOD = """
vendors:
  mistral:
    region: eu
    endpoint: https://api.eu.mistral.ai/v1
    data_retention: false
    training_data_opt_out: true
    logging_enabled: false
    compliance: [GDPR]
    attestations:
      - {document: DPA, issued: 2026-01-01, expires: 2026-06-30}
"""


def good(**changes):
    """A policy with one vendor, changed."""
    vendor = {
        "region": "eu",
        "endpoint": URL,
        "data_retention": False,
        "training_data_opt_out": True,
        "logging_enabled": False,
        "compliance": ["GDPR"],
        "attestations": [{"document": "DPA", "issued": "2026-01-01", "expires": "2026-06-30"}],
    }
    return {"vendors": {"mistral": vendor | changes}}


def guard(values=None, **given):
    """A guard at noon of 2 March 2026."""
    return ResidencyGuard(ResidencyPolicy.parse(values or good()), **({"clock": lambda: NOON} | given))


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """`companyos residency check` in an empty directory; gives status, stdout, stderr."""
    monkeypatch.chdir(tmp_path)

    def call(text, *arguments):
        Path("vendor_residency.yaml").write_text(text, encoding="utf-8")
        status = main(["residency", "check", *arguments])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return call


def test_a_declared_region_is_no_evidence(run):
    """The playbook's own file declares an endpoint as Irish that may be anywhere, and is refused by name."""
    status, out, _ = run(SEED)

    assert 1 == status
    assert "LLM-RESIDENCY.place-unknown" in out
    assert "local" in out


def test_a_file_that_holds_passes_until_its_attestation_ends(run):
    """Exit 0 on the last day of an attestation, 1 on the next."""
    assert 0 == run(GOOD, "--at", "2026-06-30")[0]
    status, out, _ = run(GOOD, "--at", "2026-07-01")

    assert 1 == status
    assert "expired on 2026-06-30" in out


def test_what_no_vendor_attested_cannot_be_judged(run):
    """Without a word from the vendor the answer is undetermined, exit 3, and not a pass."""
    status, out, _ = run(GOOD.partition("    attestations")[0], "--json", "--at", "2026-03-02")

    assert 3 == status
    assert ("undetermined", "LLM-RESIDENCY.unattested") == tuple(
        json.loads(out)["vendors"][0][key] for key in ("decision", "reason")
    )


def test_a_ledger_that_cannot_be_read_is_not_an_empty_one(run, tmp_path):
    """Exit 3 where the calls cannot be read."""
    state = tmp_path / ".companyos"
    state.mkdir()
    (state / "ledger.db").write_bytes(b"no database at all, but a file of that name" * 50)

    assert 3 == run(GOOD, "--at", "2026-03-02")[0]


def test_the_distribution_is_written_before_the_verdict(run):
    """The CSV has its columns also where the check fails, so that a pipeline has something to show."""
    status, *_ = run(SEED, "--csv", "metrics/compliance/vendor_region_distribution.csv")
    with Path("metrics/compliance/vendor_region_distribution.csv").open(encoding="utf-8", newline="") as handle:
        rows = list(csv.DictReader(handle))

    assert 1 == status
    assert list(COLUMNS) == list(rows[0])
    assert {"openai": "false", "local": "true"} == {row["vendor"]: row["compliant"] for row in rows}


def test_the_script_of_the_playbook_runs(tmp_path):
    """`scripts/check_residency.py` reads configs/ and writes metrics/, with the status of the command."""
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "vendor_residency.yaml").write_text(SEED, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "check_residency.py")], cwd=tmp_path, capture_output=True, check=False
    )

    assert 1 == done.returncode
    assert (tmp_path / "metrics" / "compliance" / "vendor_region_distribution.csv").is_file()


@pytest.mark.parametrize(
    "text",
    [
        "vendors: {}",
        "vendors: []",
        GOOD.replace("region: eu", "regoin: eu"),
        GOOD.replace("expires: 2026-06-30", "expires: 2025-06-30"),
        GOOD + "endpoints:\n  api.us.mistral.ai: {region: eu, source: hope, checked: 2026-01-01}\n",
        GOOD + "endpoints:\n  HTTPS://x: {region: eu, source: hope, checked: 2026-01-01}\n",
        GOOD + "enforcement: {jurisdictions: [atlantis]}\n",
        GOOD + "vendors: {}\n",
        "\x00",
    ],
    ids=["none", "list", "misspelt", "backwards", "contradicts", "no-host", "nowhere", "twice", "binary"],
)
def test_a_file_that_does_not_hold_together_is_refused(run, text):
    """Exit 2 with the code of the error; never judged by what is left."""
    status, out, err = run(text)

    assert (2, "") == (status, out)
    assert "error[" in err


def test_no_file_is_an_error_with_the_next_step(tmp_path):
    """A missing file is not one without vendors."""
    with pytest.raises(ResidencyFileError, match=r"docs/residency.md"):
        ResidencyPolicy.load(tmp_path / "vendor_residency.yaml")


def test_unlabelled_data_counts_as_personal():
    """None is judged as pii: it may not leave even where leaving is let through."""
    values = good(region="us", endpoint="https://api.us.mistral.ai/v1") | {
        "enforcement": {"block_non_eu_requests": False}
    }
    asked = {"provider": "mistral", "endpoint": "https://api.us.mistral.ai/v1", "model": "m"}
    door = guard(values)

    assert not door.check(**asked, data_class=None).allow
    let_through = door.check(**asked, data_class="telemetry")
    assert let_through.allow
    assert ["LLM-RESIDENCY.outside"] == [finding.rule for finding in let_through.findings]


def test_an_answer_is_not_remembered_beyond_its_day():
    """An attestation that ends at midnight ends what was remembered of it."""
    now = [datetime(2026, 6, 30, 23, 59, tzinfo=UTC).timestamp()]
    door = guard(clock=lambda: now[0])
    asked = {"provider": "mistral", "endpoint": URL, "model": "m", "data_class": "pii"}

    assert door.check(**asked).allow
    now[0] += 120
    assert "LLM-RESIDENCY.attestation-expired" == door.check(**asked).reason


def test_a_refusal_is_on_the_ledger_and_told(tmp_path):
    """Who is refused finds the entry by its id; the one who is told gets the same decision."""
    told = []
    with Ledger.open(f"sqlite:///{tmp_path / 'l.db'}") as ledger:
        door = guard(ledger=ledger, on_violation=told.append)
        with pytest.raises(ResidencyRefusedError) as refused:
            door.require(provider="other", endpoint=URL, model="m", data_class="pii")
        (entry,) = [entry for entry in ledger.read() if entry.type == REFUSAL]

    assert entry.id == refused.value.decision.audit_id
    assert [refused.value.decision] == told
    assert ("LLM-RESIDENCY.vendor-unknown", "m") == (entry.data["reason"], entry.data["model"])


def test_nobody_is_told_where_the_file_says_so():
    """`alert_on_violation: false` keeps quiet; the refusal stands."""
    told = []
    door = guard(good() | {"enforcement": {"alert_on_violation": False}}, on_violation=told.append)

    assert not door.check(provider="other", endpoint=URL, model="m", data_class="pii").allow
    assert [] == told


def test_an_alert_that_fails_changes_no_answer(caplog):
    """The alarm may be broken; the door stays shut, and the log says so."""

    def broken(decision):
        raise OSError("no bell")

    with caplog.at_level(logging.ERROR, "companyos.llm"):
        decision = guard(on_violation=broken).check(provider="other", endpoint=URL, model="m", data_class="pii")

    assert not decision.allow
    assert "nobody could be told" in caplog.text


def test_a_country_is_needed_off_this_machine():
    """On-premise elsewhere is judged by its country, and refused without one."""
    away = {"region": "on-premise", "endpoint": "https://10.0.0.7/v1", "attestations": []}

    assert not judge_vendor(ResidencyPolicy.parse(good(**away)), "mistral", date(2026, 3, 2)).allow
    assert judge_vendor(ResidencyPolicy.parse(good(**away, country="de")), "mistral", date(2026, 3, 2)).allow
    assert not judge_vendor(ResidencyPolicy.parse(good(**away, country="us")), "mistral", date(2026, 3, 2)).allow


def test_region_is_that_of_the_file():
    """Spans and records name the declared region; an unknown vendor has none."""
    assert ("eu", None) == (guard().region("mistral"), guard().region("other"))


def test_every_shipped_endpoint_names_its_source():
    """Each entry is a host with an https source; the ones that process in one place lie in a known jurisdiction."""
    for place in shipped_places():
        host = parse_endpoint(f"https://{place.host.replace('*', 'eu-west-1')}").host
        assert place.source.startswith("https://")
        assert place.region is None or place.jurisdictions(host)
