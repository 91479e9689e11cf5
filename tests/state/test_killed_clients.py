"""Clients in processes of their own that are killed at any moment, over the embedded stores and over servers."""

import random
import time
from contextlib import closing

import pytest

from companyos.state import open_database
from tests.state.history import check
from tests.state.state_workers import PROCESSES, read_journal, work_in_a_journal

LEASE_SECONDS = 0.3
AT_ONCE, KILLS = 3, 12


@pytest.mark.parametrize(
    "stores",
    [
        "embedded",
        pytest.param("servers", marks=[pytest.mark.service("postgresql"), pytest.mark.service("redis")]),
    ],
)
def test_the_contracts_hold_while_clients_are_killed(stores, tmp_path, request):
    """A dozen processes die by SIGKILL in the middle of what they do; what the others saw keeps both contracts."""
    if stores == "embedded":
        urls = f"sqlite:///{tmp_path / 's.db'}", "memory:"
    else:
        urls = request.getfixturevalue("postgresql_url"), request.getfixturevalue("redis_url")
    open_database(urls[0]).close()  # makes the tables
    seed = random.SystemRandom().randrange(2**32)
    chance, running, journals = random.Random(seed), [], []
    try:
        for client in range(KILLS):
            journals.append(tmp_path / f"journal-{client}")
            ready = PROCESSES.Event()
            arguments = (client, seed, urls, LEASE_SECONDS, journals[-1], ready)
            running.append(PROCESSES.Process(target=work_in_a_journal, args=arguments))
            running[-1].start()
            assert ready.wait(60)
            time.sleep(chance.random() * 0.4)
            if len(running) == AT_ONCE:
                kill(running.pop(chance.randrange(AT_ONCE)))
    finally:
        for process in running:
            kill(process)

    history = [one for journal in journals for one in read_journal(journal)]
    answered = [one for one in history if one.known]
    assert (
        check([one for one in history if one.kind != "refused"], LEASE_SECONDS, shared_cache=stores == "servers") == []
    ), seed
    assert len(answered) > 200
    with closing(open_database(urls[0])) as database:
        assert database.read("k0").version > 0


def kill(process):
    process.kill()
    process.join(60)
