"""A store that was lost refuses, whoever asks, until it is rebuilt from the ledger."""

from __future__ import annotations

import shutil
import sqlite3
from decimal import Decimal

import pytest

from companyos.finops import Budget, BudgetPolicy, BudgetRefusedError, BudgetStoreLostError
from companyos.finops.budgets import differences, open_store, read_history, rebuild
from companyos.ledger import Ledger
from tests.services import Redis, available

SOURCE = "companyos/finops/budgets/company"
POLICY = BudgetPolicy.parse({"levels": {"acme": [{"period": "month", "limit": 100}]}})
LOOSE = BudgetPolicy.parse({"levels": {"acme": [{"period": "month", "limit": 100}]}, "unlogged_percent": 10})


@pytest.fixture
def ledger(tmp_path):
    """A real ledger."""
    with Ledger.open(f"sqlite:///{tmp_path / 'ledger.db'}") as opened:
        yield opened


@pytest.fixture(params=["memory", "durable"])
def redis(request):
    """A server of the test's own, with and without an append-only file."""
    server = Redis(available("redis"), durable=request.param == "durable")
    yield server
    server.stop()


def sums(store):
    """Spent and reserved of the one level."""
    return [(one.spent // 10**8, one.reserved // 10**8) for one in store.levels()]


def rebuilt(url, ledger, policy=POLICY):
    """Rebuild, hold the store against the ledger, and return the report with its sums."""
    store = open_store(url, "company")
    report = rebuild(policy, store, ledger)
    assert differences(store.levels(), read_history(ledger.read(), SOURCE)) == []
    found = sums(store)
    store.close()
    return report, found


def refuses(budget, held=None):
    """The budget gives out nothing, and takes no settlement, refund or look either."""
    calls = [lambda: budget.reserve(Decimal(1), task="acme"), budget.levels, budget.flush]
    if held is not None:
        calls += [lambda: held.settle(Decimal(1)), held.refund]
    for call in calls:
        with pytest.raises(BudgetStoreLostError):
            call()


def test_redis_killed(redis, ledger):
    """After `kill -9`, with and without AOF, old and new callers are refused; rebuilt, nothing is missing."""
    budget = Budget.open(POLICY, redis.url, ledger)
    budget.reserve(Decimal(40), task="acme").settle(Decimal(35))
    held = budget.reserve(Decimal(20), task="acme")
    redis.kill()
    redis.restart()

    refuses(budget, held)
    with pytest.raises(BudgetStoreLostError):
        Budget.open(POLICY, redis.url, ledger)
    report, found = rebuilt(redis.url, ledger)
    assert (report.changed, report.reservations, found) == (True, 2, [(35, 20)])
    refuses(budget, held)

    with Budget.open(POLICY, redis.url, ledger) as again:
        with pytest.raises(BudgetRefusedError):
            again.reserve(Decimal(46), task="acme")
        again.settle(held.id, Decimal(15))
        again.settle(held.id, Decimal(15))
        assert sums(again) == [(50, 0)]


def test_redis_flushed(redis_url, ledger):
    """What was emptied by hand is lost, though the server has not been restarted."""
    import redis

    budget = Budget.open(POLICY, redis_url, ledger)
    budget.reserve(Decimal(40), task="acme").settle()
    with redis.Redis.from_url(redis_url) as client:
        client.flushdb()

    refuses(budget)
    assert rebuilt(redis_url, ledger)[1] == [(40, 0)]


def test_redis_that_lost_one_of_its_keys(redis_url, ledger):
    """A server that evicted events is not trusted."""
    import redis

    loose = Budget.open(LOOSE, redis_url, ledger)
    loose.reserve(Decimal(4), task="acme").settle()
    with redis.Redis.from_url(redis_url) as client:
        (journal,) = client.keys("*:journal")
        client.delete(journal)

    refuses(loose)


def test_redis_put_back_from_a_snapshot(ledger):
    """A server that starts from an old copy of its own file is not trusted, and is rebuilt with what came after."""
    server = Redis(available("redis"), durable=True)
    try:
        budget = Budget.open(POLICY, server.url, ledger)
        budget.reserve(Decimal(40), task="acme").settle()
        server.kill()
        copy = server.process.folder.with_name(f"{server.process.folder.name}-copy")
        shutil.copytree(server.process.folder / "appendonlydir", copy)
        server.restart()
        rebuilt(server.url, ledger)
        with Budget.open(POLICY, server.url, ledger) as later:
            later.reserve(Decimal(50), task="acme").settle()
        server.kill()
        shutil.rmtree(server.process.folder / "appendonlydir")
        shutil.move(copy, server.process.folder / "appendonlydir")
        server.restart()

        with pytest.raises(BudgetStoreLostError):
            Budget.open(POLICY, server.url, ledger)
        assert rebuilt(server.url, ledger)[1] == [(90, 0)]
    finally:
        server.stop()


def test_what_was_given_out_unlogged_is_deemed_spent(redis, ledger):
    """With an allowance, a rebuild counts what nobody knows as spent: the cap holds whatever was lost."""
    budget = Budget.open(LOOSE, redis.url, ledger)
    budget.reserve(Decimal(40), task="acme").settle()
    budget.flush()
    budget.reserve(Decimal(4), task="acme")
    redis.kill()
    redis.restart()

    report, found = rebuilt(redis.url, ledger, LOOSE)
    durable = report.salvaged > 0
    assert (dict(report.unaccounted), found) == (
        {next(iter(dict(report.unaccounted))): 10 * 10**8},
        [(50, 4)] if durable else [(50, 0)],
    )
    assert rebuilt(redis.url, ledger, LOOSE)[0].changed is False


@pytest.mark.parametrize("how", ["deleted", "emptied"])
def test_sqlite_lost(tmp_path, ledger, how):
    """A file that was deleted, or whose tables were emptied, is lost, and comes back from the ledger."""
    path = tmp_path / "budget.db"
    url = f"sqlite:///{path}"
    budget = Budget.open(POLICY, url, ledger)
    held = budget.reserve(Decimal(40), task="acme")
    if how == "deleted":
        for file in tmp_path.glob("budget.db*"):
            file.unlink()
    else:
        with sqlite3.connect(path) as database:
            database.execute("DELETE FROM budget_meta")
        database.close()

    refuses(budget, held)
    with pytest.raises(BudgetStoreLostError):
        Budget.open(POLICY, url, ledger)
    assert rebuilt(url, ledger)[1] == [(0, 40)]


def test_postgresql_put_back_from_a_dump(postgresql_url, ledger):
    """Tables that were made anew and filled from a dump are not the ones that the ledger tells of."""
    import psycopg

    with Budget.open(POLICY, postgresql_url, ledger) as budget:
        budget.reserve(Decimal(40), task="acme").settle()
    with psycopg.connect(postgresql_url, options="-c search_path=companyos_budget_company") as connection:
        for table in ("budget_meta", "budget_level"):
            connection.execute(f"CREATE TABLE copy AS TABLE {table}")
            connection.execute(f"DROP TABLE {table}")
            connection.execute(f"ALTER TABLE copy RENAME TO {table}")
        connection.execute("ALTER TABLE budget_level ADD PRIMARY KEY (key)")

    with pytest.raises(BudgetStoreLostError):
        Budget.open(POLICY, postgresql_url, ledger)
    assert rebuilt(postgresql_url, ledger)[1] == [(40, 0)]


def test_postgresql_killed_keeps_what_it_said(postgresql, ledger):
    """A server with durable commits that was killed has lost nothing, and goes on."""
    url = postgresql.create_database()
    with Budget.open(POLICY, url, ledger) as budget:
        budget.reserve(Decimal(40), task="acme").settle()
    postgresql.kill()
    postgresql.restart()

    with Budget.open(POLICY, url, ledger) as budget, pytest.raises(BudgetRefusedError):
        budget.reserve(Decimal(61), task="acme")
    postgresql.drop_database(url)


def test_a_ledger_that_does_not_know_the_store(tmp_path, ledger):
    """A store in which was spent, with an empty ledger beside it, is refused."""
    url = f"sqlite:///{tmp_path / 'budget.db'}"
    with Budget.open(POLICY, url, ledger) as budget:
        budget.reserve(Decimal(40), task="acme").settle()
    with Ledger.open(f"sqlite:///{tmp_path / 'other.db'}") as other, pytest.raises(BudgetStoreLostError):
        Budget.open(POLICY, url, other)


def test_killed_between_store_and_ledger(tmp_path, ledger):
    """Events that a killed process left in the store come to the ledger by whoever opens it next, once."""
    url = f"sqlite:///{tmp_path / 'budget.db'}"
    first = Budget.open(LOOSE, url, ledger)
    first.reserve(Decimal(5), task="acme").settle(Decimal(3))
    first._store.close()  # as a kill leaves it: nothing is brought to the ledger
    waiting = open_store(url, "company")
    assert [event.kind for event in waiting.pending(9)] == ["settled"]
    waiting.close()

    with Budget.open(LOOSE, url, ledger) as second:
        second.flush()
        second.flush()
    kinds = [entry.type.rsplit(".", 1)[1] for entry in ledger.read()]
    assert kinds == ["opened", "reserved", "settled"]


def test_a_rebuild_leaves_a_whole_store_alone(tmp_path, ledger):
    """Where store and ledger agree nothing is done, and budgets that are open go on."""
    url = f"sqlite:///{tmp_path / 'budget.db'}"
    with Budget.open(POLICY, url, ledger) as budget:
        budget.reserve(Decimal(5), task="acme").settle()
        assert rebuilt(url, ledger)[0].changed is False
        budget.reserve(Decimal(5), task="acme").settle()


def test_a_store_whose_sums_were_altered_is_rebuilt(tmp_path, ledger):
    """Sums that differ from the ledger's are found and mended, and who had the store open must open it again."""
    path = tmp_path / "budget.db"
    url = f"sqlite:///{path}"
    budget = Budget.open(POLICY, url, ledger)
    budget.reserve(Decimal(40), task="acme").settle()
    with sqlite3.connect(path) as database:
        database.execute("UPDATE budget_level SET spent = 0")
    database.close()

    report, found = rebuilt(url, ledger)
    assert (report.changed, found) == (True, [(40, 0)])
    refuses(budget)
