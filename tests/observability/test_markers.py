"""Release markers: the event, where it goes, and what a release did, asked of a real Prometheus."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from companyos.cli import app
from companyos.decision import Verdict
from companyos.ledger import Ledger
from companyos.observability.dashboards.prometheus import PrometheusOverTime
from companyos.observability.markers import (
    Marker,
    MarkerError,
    annotation,
    compare,
    exposition,
    find_marker,
    mark,
    markers,
    problems,
)
from tests.observability.history import Phase, history
from tests.services import Prometheus, available

AT = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
START = AT - timedelta(minutes=40)
STEADY = Phase(40, errors=0.0002)


@pytest.fixture
def ledger(tmp_path):
    with Ledger.open(f"sqlite:///{tmp_path / 'log.db'}") as log:
        yield log


def _marker(**changes):
    return Marker(**{"service": "orders", "version": "1.3.0", "environment": "prod", "revision": "3f2c1ab"} | changes)


class TestEvent:
    def test_is_a_cdevent(self):
        """A marker of each kind is an event as CDEvents 0.4 describes it."""
        for kind in ("deployed", "upgraded", "rolledback"):
            event = _marker(kind=kind, at=AT).to_cdevent()

            assert [] == problems(event)
            assert f"dev.cdevents.service.{kind}.0.2.0" == event["context"]["type"]
            assert ("prod", "pkg:generic/orders@1.3.0") == (
                event["subject"]["content"]["environment"]["id"],
                event["subject"]["content"]["artifactId"],
            )

    @pytest.mark.parametrize(
        "break_it",
        [
            lambda event: event["context"].pop("timestamp"),
            lambda event: event["context"].update(version="0.5.0"),
            lambda event: event["context"].update(type="dev.cdevents.service.published.0.2.0"),
            lambda event: event["subject"].pop("content"),
            lambda event: event["subject"].update(type="artifact"),
            lambda event: event["subject"]["content"].pop("environment"),
            lambda event: event["subject"]["content"].update(artifactId=""),
            lambda event: event.update(more=1),
        ],
    )
    def test_what_is_none_is_refused(self, break_it):
        """An event that lacks what the specification requires is no marker."""
        event = _marker().to_cdevent()
        break_it(event)

        with pytest.raises(MarkerError):
            Marker.from_cdevent(event)

    def test_of_another_tool(self):
        """An event that another tool wrote is read as well, its version taken from the package URL."""
        event = {
            "context": {
                "version": "0.4.1",
                "id": "271069a8",
                "source": "/argocd",
                "type": "dev.cdevents.service.upgraded.0.2.0",
                "timestamp": "2026-03-01T13:00:00+01:00",
            },
            "subject": {
                "id": "orders",
                "type": "service",
                "content": {"environment": {"id": "prod"}, "artifactId": "pkg:oci/orders@sha256%3A0b31"},
            },
        }
        found = Marker.from_cdevent(event)

        assert ("orders", "sha256%3A0b31", "upgraded", AT) == (found.service, found.version, found.kind, found.at)

    @given(st.text(), st.text(), st.text())
    def test_round_trip(self, service, version, environment):
        """Whatever the names are, a marker is refused or comes back from its event as it was."""
        try:
            made = Marker(service, version, environment, at=AT)
        except MarkerError:
            return

        assert [] == problems(made.to_cdevent())
        assert json.loads(json.dumps(made.to_cdevent())) == Marker.from_cdevent(made.to_cdevent()).to_cdevent()

    def test_a_time_without_zone(self):
        """A time must say its zone."""
        with pytest.raises(MarkerError, match="zone"):
            _marker(at=datetime(2026, 3, 1))  # noqa: DTZ001 - that is the point


class TestOutlets:
    def test_ledger_and_log(self, ledger, service):
        """Marking appends the event under its own type and id, and logs it with its revision."""
        receipt = mark(ledger, _marker(id="m-1"))
        entry = next(ledger.read())

        assert ("m-1", "dev.cdevents.service.deployed.0.2.0", 0) == (entry.id, entry.type, receipt.index)
        assert ("release.marked", "3f2c1ab") == (service.event["event"], service.event["vcs.ref.head.revision"])

    def test_found_again(self, ledger):
        """By the beginning of its id, or as the latest; what is not unambiguous is an error."""
        for name in ("m-1", "m-2"):
            mark(ledger, _marker(id=name))

        assert ("m-1", "m-2") == (find_marker(ledger, "m-1").id, find_marker(ledger, "latest").id)
        for name in ("m", "x"):
            with pytest.raises(MarkerError):
                find_marker(ledger, name)

    def test_twice(self, ledger):
        """The same marker again is the same entry."""
        made = _marker(at=AT)
        mark(ledger, made)
        mark(ledger, made)

        assert 1 == len(list(markers(ledger)))

    def test_grafana(self):
        """The annotation has the time in milliseconds, tags and a text with the commit."""
        drawn = annotation(_marker(at=AT))

        assert (int(AT.timestamp()) * 1000, "orders 1.3.0 (3f2c1ab) deployed to prod") == (drawn["time"], drawn["text"])
        assert "service:orders" in drawn["tags"]

    @pytest.mark.service("prometheus")
    def test_gauge(self):
        """Promtool takes the gauge, whatever the names hold."""
        import subprocess

        text = exposition([_marker(at=AT), _marker(version='1.4"\\', at=AT)])
        tool = available("prometheus").promtool
        done = subprocess.run([tool, "check", "metrics"], input=text, capture_output=True, text=True, check=False)

        assert (0, "") == (done.returncode, done.stderr + done.stdout)
        assert 'service_version="1.3.0"' in text


@pytest.fixture(scope="module")
def prometheus():
    """A Prometheus that remembers five services: steady, failing, slow, slow before its release, and idle after it."""
    bad = Phase(40, errors=0.05)
    start = START.timestamp()
    texts = [
        history(start, [STEADY, STEADY], service="steady"),
        history(start, [STEADY, bad], service="failing"),
        history(start, [STEADY, Phase(40, errors=0.0002, slow=0.3)], service="slow"),
        history(start, [Phase(20), Phase(60, slow=0.3)], service="slow_before"),
        history(start, [bad, bad], service="failing_before"),
        history(start, [STEADY], service="gone"),
        history(start + 2400, [STEADY], service="new"),
        history(start, [Phase(40), Phase(40, errors=0.00002)], service="one_error"),
        history(start, [Phase(80, rate=0.005)], service="rare"),
    ]
    jobs = history(start, [STEADY, bad], service="mailer", metric="messaging_process_duration_seconds")
    made = Prometheus(available("prometheus"), history=_merged(texts, jobs))
    yield made
    made.stop()


def _merged(texts, *others):
    """The lines of all of them, each family once."""
    bodies = [line for text in texts for line in text.splitlines() if not line.startswith("#")]
    head = [line for line in texts[0].splitlines() if line.startswith("# TYPE")]
    rest = [line for text in others for line in text.splitlines() if not line.startswith(("# EOF", "# UNIT"))]
    return [f"{line}\n" for line in (*head, *bodies, *rest)]


@pytest.mark.service("prometheus")
class TestCompare:
    @pytest.fixture
    def judge(self, prometheus):
        """Compares a service across its release at AT."""

        def call(service, **changes):
            now = (AT + timedelta(minutes=35)).timestamp()
            return compare(
                _marker(service=service, at=AT), PrometheusOverTime(prometheus.url), **{"now": now} | changes
            )

        return call

    def test_steady(self, judge):
        """A release that changes nothing is said to be steady, with the figures that were planted."""
        found = judge("steady")

        assert Verdict.ALLOW is found.decision.verdict
        assert found.before.rate == pytest.approx(20, rel=0.02)
        assert found.after.error_share == pytest.approx(0.0002, rel=0.2)
        assert found.burn(found.after) == pytest.approx(0.4, rel=0.2)
        assert 0.025 <= found.after.p99 <= 0.05

    def test_an_incident(self, judge):
        """Five percent of errors burn the budget of 99.95 % at 100: more than ten times the normal, an incident."""
        found = judge("failing")

        assert (Verdict.DENY, "release.incident") == (found.decision.verdict, found.decision.reason)
        assert found.burn(found.after) == pytest.approx(100, rel=0.05)
        assert "release.burn" in [finding.rule for finding in found.decision.findings]

    def test_a_service_that_failed_before(self, judge):
        """Failing before and after is no incident of the release, and nothing that anybody would call steady."""
        found = judge("failing_before")

        assert (Verdict.DENY, "release.failing") == (found.decision.verdict, found.decision.reason)
        assert found.burn(found.before) == pytest.approx(100, rel=0.05)

    def test_a_worker(self, judge):
        """A service without requests is judged by its jobs."""
        assert "release.incident" == judge("mailer").decision.reason

    def test_a_latency_spike(self, judge):
        """Latency that rose with the release is a finding that says how much and when."""
        found = judge("slow")
        shift = next(shift for shift in found.shifts if shift.name == "p95")

        assert "release.latency_spike" == found.decision.reason
        assert shift.after / shift.before > 10
        assert shift.correlation > 0.9
        assert 0 <= shift.began_seconds <= 120
        assert "began" in found.decision.findings[0].message

    def test_a_latency_spike_that_began_earlier(self, judge):
        """Latency that rose 20 minutes before the release is not laid at its door."""
        assert Verdict.ALLOW is judge("slow_before").decision.verdict

    def test_one_error_after_none(self, judge):
        """After a time without errors a single one is no incident: the budget is not spent faster than it accrues."""
        found = judge("one_error")

        assert (0, Verdict.ALLOW) == (found.before.error_share, found.decision.verdict)

    @pytest.mark.parametrize("service", ["gone", "new", "never_heard_of", "rare"])
    def test_no_data(self, judge, service):
        """Where there is nothing, or too little, before or after, nothing is concluded."""
        assert Verdict.UNDETERMINED is judge(service).decision.verdict

    def test_too_early(self, judge):
        """Half a minute after the release nothing can be told."""
        assert "release.too_early" == judge("steady", now=AT.timestamp() + 30).decision.reason

    @pytest.mark.parametrize("seconds", [61, 63])
    def test_too_early_for_latency(self, judge, seconds):
        """While each value of latency still looks back across the release, nobody says that it did not rise."""
        assert "release.no_latency" == judge("slow", now=AT.timestamp() + seconds).decision.reason

    def test_a_shorter_time_since(self, judge):
        """Ten minutes after the release the ten minutes are compared with the half hour before."""
        found = judge("failing", now=AT.timestamp() + 600)

        assert (1800, 600, Verdict.DENY) == (found.before_seconds, found.after_seconds, found.decision.verdict)


@pytest.mark.service("prometheus")
class TestCommand:
    @pytest.fixture
    def run(self, tmp_path, monkeypatch, capsys):
        monkeypatch.chdir(tmp_path)

        def call(*arguments):
            status = app.run(["marker", *arguments])
            captured = capsys.readouterr()
            return status, captured.out, captured.err

        return call

    @pytest.mark.parametrize(("name", "status"), [("steady", 0), ("failing", 1), ("never", 3)])
    def test_add_and_compare(self, run, prometheus, tmp_path, name, status):
        """`marker add`, then `marker compare latest`: the exit status says what came of the release."""
        at = AT.strftime("%Y-%m-%dT%H:%M:%SZ")
        added, identity, logged = run(
            "add", "--service", name, "--version", "2.0", "--revision", "abc", "--env", "prod", "--at", at
        )
        found, shown, _ = run("compare", "latest", "--prometheus", prometheus.url, "--svg", "out.svg")

        assert (0, status) == (added, found), shown
        assert "release.marked" in logged
        assert identity.strip() in run("list")[1]
        assert "burn rate" in shown
        assert (tmp_path / "out.svg").read_text().startswith("<svg")

    def test_json(self, run, prometheus):
        """With --json the comparison is an object with both sides and the decision."""
        at = AT.strftime("%Y-%m-%dT%H:%M:%SZ")
        run("add", "--service", "slow", "--version", "2.0", "--env", "prod", "--at", at)
        status, shown, _ = run("compare", "latest", "--prometheus", prometheus.url, "--json")
        report = json.loads(shown)

        assert (1, "deny") == (status, report["decision"]["decision"])
        assert report["shifts"][0]["follows_release"] is True

    def test_nobody_answers(self, run):
        """A Prometheus that is not there is exit status 3, never a pass."""
        run("add", "--service", "slow", "--version", "2.0", "--env", "prod", "--at", "2026-03-01T12:00:00Z")

        assert 3 == run("compare", "latest", "--prometheus", "http://127.0.0.1:9")[0]

    def test_a_misspelt_window(self, run):
        """A window that is no length of time is a usage error."""
        run("add", "--service", "slow", "--version", "2.0", "--env", "prod")

        assert 2 == run("compare", "latest", "--prometheus", "http://127.0.0.1:9", "--window", "soon")[0]
