"""Processes for the tests of the audit stream: `python -m tests.authz.audit_workers NAME URL …`."""

from __future__ import annotations

import json
import os
import resource
import sys
import time

from companyos.authz import Authorizer, RegoEngine
from companyos.ledger import Ledger

USER = {"id": "u-1", "type": "user"}
FILE = {"id": "f-1", "type": "file", "owner": "u-1"}


def open_authorizer(url):
    """A ledger, and an authorizer that batches reads."""
    ledger = Ledger.open(url)
    return ledger, Authorizer(RegoEngine(), ledger, batched_actions=["read"])


def ask_until_killed(url, path):
    """Decide for ever; a line for each answer, written before the next question."""
    _, authorizer = open_authorizer(url)
    told = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    number = 0
    while True:
        number += 1
        decision = authorizer.authorize(USER, "read" if number % 50 else "write", FILE)
        assert decision.allow, decision
        os.write(told, f"{decision.audit_id} {decision.durable}\n".encode())


def end_without_closing(url):
    """Decide ten times, and end as a program ends that knows nothing of closing."""
    _, authorizer = open_authorizer(url)
    _tell([authorizer.authorize(USER, "read", FILE).audit_id for _ in range(10)])


def ask_while_the_disk_is_full(url):
    """Decide before, while and after nothing can be written, and say what was answered."""
    ledger, authorizer = open_authorizer(url)
    answers = {"before": _answer(authorizer)}
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
    while (answer := _answer(authorizer))[0] == "policy.baseline":
        answers["unnoticed"] = answer
        time.sleep(0.001)
    answers["while"] = answer
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    while (answer := _answer(authorizer))[0] != "policy.baseline":
        time.sleep(0.001)
    answers["after"] = answer
    authorizer.close()
    written = {entry.id for entry in ledger.read()}
    ledger.close()
    _tell({key: [*value, value[1] in written] for key, value in answers.items()})


def close_while_the_disk_is_full(url):
    """Decide once, have nothing written any more, and close."""
    ledger, authorizer = open_authorizer(url)
    _answer(authorizer)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
    try:
        authorizer.close()
    except Exception as error:  # noqa: BLE001 - it is what the test looks at
        _tell({"code": error.code, "message": error.message})
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    ledger.close()


def ask_in_a_child(url):
    """Decide, fork, and decide in the child."""
    ledger, authorizer = open_authorizer(url)
    first = _answer(authorizer)
    child = os.fork()
    if not child:
        _tell(_answer(authorizer))
        sys.exit(0)
    os.waitpid(child, 0)
    authorizer.close()
    ledger.close()
    _tell(first)


def _tell(value):
    sys.stdout.write(f"{json.dumps(value)}\n")
    sys.stdout.flush()


def _answer(authorizer):
    decision = authorizer.authorize(USER, "read", FILE)
    return decision.reason, decision.audit_id


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
