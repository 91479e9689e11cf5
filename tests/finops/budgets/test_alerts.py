"""Alerts reach the channels of the policy, once, whatever fails or is restarted in between."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest

from companyos.cli import main
from companyos.company import Company
from companyos.finops import Budget
from companyos.finops.budgets import Route
from companyos.finops.budgets.stores.sqlite import SqliteBudgetStore
from companyos.notify import JsonLinesChannel, Notifier
from companyos.observability import Redactor

TASK = "acme/search/rank/run-1"


class Broken:
    """A channel that cannot be reached, until it is mended."""

    name = "slack"

    def __init__(self):
        self.heard, self.mended = [], False

    def deliver(self, message):
        if not self.mended:
            raise OSError("https://hooks.example/T0KEN did not answer")
        self.heard.append(message)
        return "slack"


@pytest.fixture
def told(tmp_path):
    """What a file of messages has been told, as it stands."""
    path = tmp_path / "told.jsonl"

    def read():
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    read.channel = JsonLinesChannel(path)
    return read


@pytest.fixture
def opened(scene):
    """A budget of the scene, opened with routes."""

    def make(*routes, fallback=None):
        store = SqliteBudgetStore(scene.path, clock=lambda: scene.now)
        return Budget(
            scene.policy, store, scene.ledger, clock=lambda: scene.now, routes=list(routes), fallback=fallback
        )

    return make


def deliveries(scene):
    """Whether each attempt on the ledger delivered."""
    return [entry.data["delivered"] for entry in scene.ledger.read() if entry.type.endswith(".alert_delivery")]


def test_an_alert_is_told_once_by_every_route_and_survives_a_restart(scene, opened, told):
    """The channel gets the text, where to, and the id of the alert; another process tells nothing again."""
    route = Route("jsonl", "#finops-alerts", Notifier([told.channel], ledger=scene.ledger))
    with opened(route) as budget:
        budget.reserve(Decimal(85), task="acme").settle()
    scene.now += 3600
    with opened(route) as again:
        again.reserve(Decimal(1), task="acme").settle()
        assert again.alerts() == []

    (message,) = told()
    assert (message["topic"], message["correlation_id"]) == ("budget.alert", "acme:EUR:day:2026-03-02:80")
    assert message["properties"]["destination"] == "#finops-alerts"
    assert deliveries(scene) == [True]
    assert not any("#finops-alerts" in json.dumps(dict(entry.data)) for entry in scene.ledger.read())


def test_a_channel_that_fails_is_reported_and_told_again(scene, opened, told, caplog):
    """The failure is on the ledger and in the log without the channel's words; a fallback hears; later it arrives."""
    slack = Broken()
    routes = [Route("slack", "#a", Notifier([slack], net=Redactor())), Route("jsonl", "b", Notifier([told.channel]))]
    with opened(*routes, fallback=Notifier([told.channel])) as budget:
        budget.reserve(Decimal(85), task="acme").settle()
    assert deliveries(scene) == [False, True]
    assert [("could not be told by slack" in one["text"]) for one in told()] == [True, False]
    assert "could not be told by slack" in caplog.text
    assert "T0KEN" not in caplog.text + "".join(json.dumps(dict(entry.data)) for entry in scene.ledger.read())

    scene.now += 3600
    with opened(*routes) as again:
        (failed,) = again.alerts()
        assert (failed.delivered, "T0KEN" in failed.detail) == (False, True)
        slack.mended = True
        assert [one.delivered for one in again.alerts()] == [True]
        assert again.alerts() == []
    assert (len(slack.heard), len(told())) == (1, 2)


def test_an_alert_whose_process_died_before_it_was_told_is_told_later(scene, opened, told):
    """The entry is there, the delivery is not: the next look tells it, if it is young enough to be news."""
    with opened() as dying:  # no routes: as if killed before the first of them
        dying.reserve(Decimal(85), task="acme").settle()
    route = Route("jsonl", "", Notifier([told.channel]))
    with opened(route) as budget:
        assert budget.alerts() == []  # younger than a minute: whoever raised it may be telling it now
        scene.now += 61
        assert [one.alert for one in budget.alerts()] == ["acme:EUR:day:2026-03-02:80"]

    with opened(Route("other", "", Notifier([told.channel]))) as late:
        scene.now += 8 * 86_400
        assert late.alerts() == []


@pytest.mark.parametrize("pace", [40, 60, 99])
def test_a_cap_of_a_month_is_warned_of_more_than_a_day_before_it_is_reached(scene, opened, told, pace):
    """Spending at a steady pace, the warning comes 24 to 72 hours before the first refusal of the month."""
    from companyos.finops import BudgetRefusedError

    scene.at("2026-03-01 12:00")
    warned = reached = None
    with opened(Route("jsonl", "", Notifier([told.channel]))) as budget:
        for _ in range(31):
            try:
                budget.reserve(Decimal(pace), task="acme").settle()
            except BudgetRefusedError:
                reached = scene.now
                break
            if warned is None and any(
                "its cap is reached" in one["text"] and ":month:" in one["text"] for one in told()
            ):
                warned = scene.now
            scene.now += 86_400

    assert warned is not None
    assert reached is not None
    assert reached - warned >= 24 * 3600
    assert len([one for one in told() if one["correlation_id"].endswith("2026-03-01:projected")]) == 1


def test_time_alone_makes_no_alert_and_a_slow_month_no_warning(scene, opened, told):
    """A pace that leaves room until the window is over is nothing to tell."""
    with opened(Route("jsonl", "", Notifier([told.channel]))) as budget:
        for _ in range(20):
            budget.reserve(Decimal(10), task="acme").settle()
            scene.now += 86_400
            budget.alerts()

    assert told() == []


COMPANY = """
company: {name: acme}
notify:
  channels: [jsonl]
  options: {jsonl: {path: told.jsonl}}
"""
POLICY = """
levels:
  acme: [{period: day, limit: 100}]
alerts:
  channels:
    - {type: jsonl, destination: "#finops-alerts"}
    - {type: carrier-pigeon, destination: roof}
"""


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """The command line in a company whose policy names a channel that it has, and one that it has not."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "companyos.yaml").write_text(COMPANY)
    (tmp_path / "finops.yaml").write_text(POLICY)

    def call(*arguments):
        capsys.readouterr()
        status = main(["budget", *arguments])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return call


def test_the_channels_of_the_policy_are_those_of_the_company(run, told):
    """One is told; the one that the company does not have is a failure that the settings' channels hear of."""
    assert run("reserve", "90", "--task", "acme")[0] == 0
    texts = [one["text"] for one in told()]
    assert [("carrier-pigeon" in text, "80 %" in text) for text in texts] == [(False, True), (True, True)]
    assert told()[0]["properties"]["destination"] == "#finops-alerts"

    assert run("alerts")[0] == 0  # a minute has not passed, so nothing is told again


def test_a_channel_that_still_fails_makes_the_command_exit_with_1(run, tmp_path):
    """What is not delivered is shown, by whatever name it has."""
    with Company.open(tmp_path) as company:
        ledger, budget = company.ledger, company.budget
        data = {"rule": "BUDGET-NOTICE.alert", "message": "acme: nearly full", "severity": "medium", "key": "acme"}
        from datetime import UTC, datetime, timedelta

        raised = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
        ledger.append(
            "companyos.finops.budget.alert",
            data | {"told_at": raised},
            id="acme:80",
            source="companyos/finops/budgets/company/verdicts",
        )
        assert budget.policy.alerts.channels[1].type == "carrier-pigeon"
    status, out, _ = run("alerts", "--json")
    assert (status, [(one["route"], one["delivered"]) for one in json.loads(out)]) == (
        1,
        [("jsonl #finops-alerts", True), ("carrier-pigeon roof", False)],
    )
    status, out, _ = run("alerts")
    assert (status, "FAILED" in out, "told" in out) == (1, True, False)
