"""The projection that comes with the ledger, and how others add theirs."""

from __future__ import annotations

import hashlib

import pytest

from companyos import hookimpl
from companyos.ledger import Database, Projection
from companyos.plugins import PluginError, Plugins
from tests.ledger.replay_workers import Totals

LONG = "work." + "".join(hashlib.sha512(bytes([n])).hexdigest() for n in range(40))


def test_streams_and_types_are_counted(ledger, postgresql_url):
    """Found by its name, it counts what is in the log, on both databases alike, whatever the names."""
    for number in range(7):
        ledger.append("work.done" if number % 2 else "work.begun", {"n": number}, stream=f"order/{number % 3}")
    ledger.append(LONG, {}, stream="order/~")
    ledger.append("work.done", {})
    streams = Plugins().projections()["streams"]
    short = f"sha256:{hashlib.sha256(LONG.encode()).hexdigest()}"

    with Database.open("sqlite://") as here, Database.open(postgresql_url) as there:
        projection, other = streams(here), streams(there)
        assert (9, 9) == (ledger.replay(projection), ledger.replay(other))

        assert {
            "streams": {
                "order/0": {"entries": 3, "first_index": 0, "last_index": 6, "last_type": "work.begun"},
                "order/1": {"entries": 2, "first_index": 1, "last_index": 4, "last_type": "work.begun"},
                "order/2": {"entries": 2, "first_index": 2, "last_index": 5, "last_type": "work.done"},
                "order/~": {"entries": 1, "first_index": 7, "last_index": 7, "last_type": short},
            },
            "types": {"work.begun": 4, "work.done": 4, short: 1},
        } == projection.snapshot().state
        assert projection.digest() == other.digest() == streams.digest_at(ledger.read, 9)


class Plugin:
    """A plugin with some projections."""

    def __init__(self, *projections):
        self.projections = projections

    @hookimpl
    def companyos_projections(self):
        return self.projections


def test_a_plugin_adds_its_own(ledger):
    """A plugin's projection is there beside the built-in one, and works the same."""
    plugins = Plugins()
    plugins.register(Plugin(Totals), "totals")
    ledger.append("work.done", {"n": 3})

    found = plugins.projections()

    assert ["bundles", "streams", "totals"] == sorted(found)
    assert all(issubclass(kind, Projection) for kind in found.values())
    with Database.open("sqlite://") as database:
        projection = found["totals"](database)
        assert 1 == ledger.replay(projection)


class Nameless:
    """No name."""

    def follow(self, read):
        """Nothing."""


class Impostor(Totals):
    """Another one's name."""

    name = "streams"


@pytest.mark.parametrize(
    ("projection", "message"),
    [
        (Impostor, "two registrations claim the name streams"),
        (Nameless, "plugin p failed in companyos_projections"),
        (type("Still", (), {"name": "still"}), "plugin p failed in companyos_projections"),
        (Totals.__new__(Totals), "returned a Totals that does not fit"),
    ],
    ids=["name taken", "nameless", "cannot follow", "not a class"],
)
def test_what_does_not_fit_is_refused(projection, message):
    """A name that is taken, or what is no projection class, is an error that names the plugin."""
    plugins = Plugins()
    plugins.register(Plugin(projection), "p")

    with pytest.raises(PluginError, match=message):
        plugins.projections()
