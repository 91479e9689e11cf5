"""`companyos slo status`: by a real Prometheus, and where there is none or it does not behave."""

from __future__ import annotations

import json
import threading
import time
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from companyos.cli.app import run
from companyos.observability.slo import PrometheusError, compile_rules, read
from companyos.observability.slo.openslo import Calendar, TimeWindow
from companyos.observability.slo.periods import calendar_start
from companyos.observability.slo.prometheus import Prometheus as Asked
from companyos.observability.slo.status import standings
from tests.observability.slo.texts import events, policy, slo, text
from tests.services import Prometheus, available

GOOD = 'sum(rate(requests_total{code="200"}[{{.window}}]))'
TOTAL = "sum(rate(requests_total[{{.window}}]))"
THINGS = (
    slo(events(good=GOOD, total=TOTAL), target=0.9, alertPolicies=["fast"]),
    policy(2, "1m"),
)
DEADLINE_SECONDS = 90


class Shop:
    """A small service that counts requests and says so at /metrics; `failing` makes them errors."""

    def __init__(self):
        self.counts = {"200": 0, "500": 0}
        self.failing = False
        self.silent = False
        shop = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                shop.counts["500" if shop.failing else "200"] += 10
                lines = [f'requests_total{{code="{code}"}} {count}\n' for code, count in shop.counts.items()]
                body = b"" if shop.silent else "".join(["# TYPE requests_total counter\n", *lines]).encode()
                self.send_response(200)
                self.send_header("Content-Type", "text/plain; version=0.0.4")
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *arguments):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.place = f"127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def shop():
    """A live service."""
    service = Shop()
    yield service
    service.stop()


@pytest.fixture
def prometheus(shop, tmp_path):
    """A Prometheus that scrapes the shop every second and has its compiled rules."""
    rules = compile_rules(read({"slo.yaml": text(*THINGS)})).to_yaml()
    server = Prometheus(available("prometheus"), targets={"shop": [shop.place]}, rules=rules)
    yield server
    server.stop()


def until(condition):
    """What the condition gives once it is true."""
    limit = time.monotonic() + DEADLINE_SECONDS
    while not (found := condition()):
        assert time.monotonic() < limit, "not within the deadline"
        time.sleep(0.3)
    return found


@pytest.mark.service("prometheus")
def test_errors_of_a_live_service_fire_the_compiled_alert_and_are_seen_by_status(shop, prometheus, tmp_path, capsys):
    """Good at first, though nobody knows the whole period; then errors: the alert fires, and the budget is spent."""
    file = tmp_path / "slo.yaml"
    file.write_bytes(text(*THINGS))
    command = ["slo", "status", str(file), "--prometheus", prometheus.url, "--json"]

    def status():
        code = run(command)
        return code, json.loads(capsys.readouterr().out)["objectives"][0]

    _, before = until(lambda: (found := status())[1]["sli"] is not None and found)
    assert (before["verdict"], before["alerts"], before["sli"]) == ("undetermined", [], 1)
    assert before["reason"].endswith(" are on record")

    shop.failing = True
    asked = Asked(prometheus.url)
    until(lambda: asked.query('ALERTS{slo_alert="fast",severity="page",alertstate="firing"}'))
    code, after = until(lambda: (found := status())[0] == 1 and found[1]["alerts"] and found)

    assert code == 1
    assert after["verdict"] == "spent"
    assert after["alerts"] == [{"name": "fast", "severity": "page", "state": "firing"}]
    assert after["budget_left"] <= 0
    assert after["burn_rates"]["1m"] > 2
    assert run(command[:-1]) == 1
    assert "page firing (fast)" in capsys.readouterr().out


@pytest.mark.service("prometheus")
def test_what_a_prometheus_does_not_know_is_undetermined(shop, prometheus, tmp_path, capsys):
    """Rules that are not loaded, of another target, or without data: each with its reason, exit status 3."""
    until(lambda: Asked(prometheus.url).query("slo:objective:ratio"))
    other = slo(service="elsewhere")
    changed = slo(events(good=GOOD, total=TOTAL), target=0.95, alertPolicies=["fast"])
    for things, reason in (
        ([other], "its rules are not loaded"),
        ([changed, THINGS[1]], "are for an objective of 0.9:"),
    ):
        (tmp_path / "slo.yaml").write_bytes(text(*things))
        assert run(["slo", "status", str(tmp_path / "slo.yaml"), "--prometheus", prometheus.url]) == 3
        assert reason in capsys.readouterr().out


@pytest.mark.service("prometheus")
def test_no_data_is_undetermined(tmp_path):
    """Rules over metrics that nobody exposes: no verdict, and why."""
    files = {"slo.yaml": text(slo())}
    server = Prometheus(available("prometheus"), rules=compile_rules(read(files)).to_yaml())
    asked = Asked(server.url)
    until(lambda: asked.query("slo:objective:ratio"))
    (found,) = standings(read(files), asked)
    server.stop()
    assert (found.verdict, found.reason, found.sli) == ("undetermined", "its queries find no data", None)


@contextmanager
def answering(answer):
    """A server that gives every question to `answer(handler)`."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            answer(self)

        do_GET = do_POST  # noqa: N815 - as http.server has it

        def log_message(self, *arguments):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def giving(body, status=200):
    """An answer with that body."""

    def answer(handler):
        handler.send_response(status)
        handler.end_headers()
        handler.wfile.write(body if isinstance(body, bytes) else json.dumps(body).encode())

    return answer


def vector(*samples):
    """An answer of the API."""
    result = [{"metric": labels, "value": [0, value]} for labels, value in samples]
    return {"status": "success", "data": {"resultType": "vector", "result": result}}


@pytest.mark.parametrize(
    "answer",
    [
        giving(b"<html>"),
        giving(b"[" * 100_000),
        giving({"status": "error", "error": "too hard"}, 422),
        giving({"status": "success", "data": {"resultType": "scalar", "result": [0, "1"]}}),
        giving({"status": "success", "data": {"resultType": "vector", "result": [{"metric": 1}]}}),
        giving({"status": "success"}),
        lambda handler: handler.wfile.write(b"nonsense"),
        lambda handler: None,
    ],
)
def test_answers_outside_of_the_api_are_no_answers(answer):
    """Whatever is not a vector in the API's form raises, with the exit status of what could not be checked."""
    with answering(answer) as url, pytest.raises(PrometheusError) as caught:
        Asked(url, 5).query("up")
    assert caught.value.exit_status == 3


def test_an_answer_that_drips_is_cut_off():
    """The time limit is for the whole answer, not for each byte of it."""

    def drip(handler):
        handler.send_response(200)
        handler.end_headers()
        for _ in range(100):
            try:
                handler.wfile.write(b" ")
                handler.wfile.flush()
            except OSError:
                return
            time.sleep(0.1)

    with answering(drip) as url, pytest.raises(PrometheusError, match="too long or too slow"):
        Asked(url, 0.5).query("up")


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "ftp://x", "nonsense", "http://u:p@h", "http://h:99999"])
def test_no_prometheus_is_exit_three(url, tmp_path, capsys):
    """Unreachable, or no address at all: nothing is known, and that is said."""
    (tmp_path / "slo.yaml").write_bytes(text(slo()))
    assert run(["slo", "status", str(tmp_path / "slo.yaml"), "--prometheus", url, "--timeout", "2"]) == 3
    assert "error[slo.prometheus]" in capsys.readouterr().err


NAMES = {"slo_id": "shop-up"}
LOADED = ({"__name__": "slo:objective:ratio"} | NAMES, "0.999")
PERIOD = {"__name__": "slo:sli_error:ratio_rate30d"} | NAMES
FLOW = ({"__name__": "slo:sli_total:rate5m"} | NAMES, "7")
LATEST = ({"__name__": "slo:sli_error:ratio_rate5m"} | NAMES, "0")
YOUNG = ({}, "20")
"""Of 200 looks back into the period so many found the rules."""


@pytest.mark.parametrize(
    ("samples", "retention", "verdict", "reason"),
    [
        ([LOADED, FLOW, LATEST, (PERIOD, "0.0005"), YOUNG], "40d", "undetermined", "only 3d of 30d are on record"),
        ([LOADED, FLOW, LATEST, (PERIOD, "0.0005")], "40d", "kept", ""),
        ([LOADED, FLOW, LATEST, (PERIOD, "0.001")], "40d", "spent", ""),
        ([LOADED, FLOW, LATEST, (PERIOD, "0.5")], "15d", "spent", ""),
        ([LOADED, FLOW, LATEST, (PERIOD, "-0.001")], "40d", "kept", ""),
        ([LOADED, FLOW, LATEST, (PERIOD, "98.5")], "40d", "undetermined", "its queries give an error ratio of 98.5"),
        ([LOADED, FLOW, LATEST, (PERIOD, "1")], "40d", "spent", ""),
        ([LOADED, FLOW, LATEST, (PERIOD, "-2")], "40d", "undetermined", "its queries count more good events"),
        ([LOADED, FLOW, LATEST, (PERIOD, "0.0005")], "15d", "undetermined", "Prometheus keeps only 15d of the period"),
        ([LOADED, FLOW, LATEST, (PERIOD, "0.0005")], "0s", "undetermined", "Prometheus keeps only 15d of the period"),
        ([LOADED, FLOW, (PERIOD, "0.0005")], "40d", "kept", ""),
        ([LOADED, (PERIOD, "0.0005")], "40d", "undetermined", "there was data, and there is none now"),
        ([LOADED, FLOW], "40d", "undetermined", "no events in the period"),
        ([LOADED, FLOW, (PERIOD, "NaN")], "40d", "undetermined", "no events in the period"),
        ([], "40d", "undetermined", "its rules are not loaded"),
    ],
)
def test_a_verdict_needs_the_whole_period(samples, retention, verdict, reason):
    """Kept only where rules, data and history are all there; spent is spent on any part of it."""

    def answer(handler):
        asked = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
        if "flags" in handler.path:
            giving({"status": "success", "data": {"storage.tsdb.retention.time": retention}})(handler)
        else:
            looks = [YOUNG if YOUNG in samples else ({}, "200")]
            known = [sample for sample in samples if sample is not YOUNG]
            giving(vector(*([] if b"ALERTS" in asked else looks if b"count_over" in asked else known)))(handler)

    with answering(answer) as url:
        (found,) = standings(read({"slo.yaml": text(slo())}), Asked(url))
    assert found.verdict == verdict
    assert found.reason.startswith(reason)


@pytest.mark.parametrize(
    ("ratio", "missing", "annotated", "verdict"),
    [
        ("0", True, False, "undetermined"),
        ("0", False, False, "kept"),
        ("0", True, True, "kept"),
        ("0.0005", True, False, "kept"),
    ],
    ids=["misspelt or never needed", "exported as 0", "said to be in order", "seen within the period"],
)
def test_errors_that_cannot_be_seen_are_no_success(ratio, missing, annotated, verdict):
    """No error in the period, and no series that would count one: nobody knows."""

    def answer(handler):
        asked = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
        if "flags" in handler.path:
            giving({"status": "success", "data": {"storage.tsdb.retention.time": "40d"}})(handler)
        elif b"absent" in asked:
            giving(vector(*([({}, "1")] if missing else [])))(handler)
        else:
            known = [LOADED, FLOW, LATEST, (PERIOD, ratio)]
            giving(vector(*([] if b"ALERTS" in asked else [({}, "200")] if b"count_over" in asked else known)))(handler)

    written = slo(events(bad="sum(rate(errors_total[{{.window}}]))", total=TOTAL))
    if annotated:
        written["metadata"]["annotations"] = {"companyos.bad-events-may-be-absent": "true"}
    with answering(answer) as url:
        (found,) = standings(read({"slo.yaml": text(written)}), Asked(url))
    assert found.verdict == verdict
    assert ("errors_total" in found.reason) == (verdict == "undetermined")


def test_calendar_windows_are_asked_from_their_start():
    """On the 11th of a month of 30 days a third of it has passed, and that much of the budget can be spent."""
    asked = []

    def answer(handler):
        question = handler.rfile.read(int(handler.headers.get("Content-Length") or 0)).decode()
        asked.append(question)
        whole, told = "sum_over_time" in question, "ALERTS" in question
        if "count_over_time" in question:
            giving(vector(({}, "200")))(handler)
            return
        giving(vector(({}, "0.0015")) if whole else vector(*(() if told else (LOADED, FLOW, LATEST))))(handler)

    window = [{"duration": "1M", "calendar": {"startTime": "2026-01-01 00:00:00", "timeZone": "UTC"}}]
    with answering(answer) as url:
        documents = read({"slo.yaml": text(slo(timeWindow=window))})
        (found,) = standings(documents, Asked(url), now=datetime(2026, 11, 11, tzinfo=UTC))
    assert any("%5B10d%5D" in question for question in asked)
    assert found.period == "1M from 2026-11-01T00:00:00+00:00"
    assert found.budget_left == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("shorthand", "start", "zone", "now", "began", "ends"),
    [
        ("1M", "2026-01-31 00:00:00", "UTC", "2026-03-01T00:00:00+00:00", "2026-02-28T00:00", "2026-03-31T00:00"),
        ("1Q", "2026-01-01 00:00:00", "UTC", "2026-05-05T00:00:00+00:00", "2026-04-01T00:00", "2026-07-01T00:00"),
        ("1Y", "2020-02-29 12:00:00", "UTC", "2026-02-28T11:59:59+00:00", "2025-02-28T12:00", "2026-02-28T12:00"),
        (
            "1d",
            "2026-01-01 00:00:00",
            "Europe/Berlin",
            "2026-03-29T10:00:00+02:00",
            "2026-03-29T00:00",
            "2026-03-30T00:00",
        ),
        ("1w", "2026-01-05 00:00:00", "UTC", "2026-01-04T23:59:59+00:00", "2025-12-29T00:00", "2026-01-05T00:00"),
    ],
)
def test_calendars(shorthand, start, zone, now, began, ends):
    """Months of every length, leap days, days of 23 hours, and times before the start."""
    window = TimeWindow(1, shorthand, Calendar(start, zone))
    found = calendar_start(window, datetime.fromisoformat(now))
    assert [moment.strftime("%Y-%m-%dT%H:%M") for moment in found] == [began, ends]
