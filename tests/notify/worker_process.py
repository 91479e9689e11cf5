"""A worker in a process of its own, to be killed: `worker_process.py OUTBOX LEDGER URL LEASE_SECONDS`."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from companyos.ledger import Ledger
from companyos.notify import AddressRule, Client, RetryPolicy, WebhookChannel, Worker, open_outbox
from tests.notify.receiver import SECRET


def main(outbox: str, ledger: str, url: str, lease_seconds: str) -> None:
    """Deliver until nothing is due."""
    client = Client(url, AddressRule.parse(["127.0.0.1"]), plain_http=True, timeout_seconds=2)
    channel = WebhookChannel("webhook", client, lambda: [SECRET])
    retry = RetryPolicy(attempts=1000, base_seconds=0.01, cap_seconds=0.1)
    with Ledger.open(ledger) as log:
        Worker(
            open_outbox(outbox, "notify"),
            {"webhook": channel},
            ledger=log,
            retry=retry,
            threads=4,
            lease_seconds=float(lease_seconds),
        ).run(threading.Event(), once=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
