"""The ledger at a larger size than every run can afford."""

import random

import pytest

from companyos.ledger import Ledger

pytestmark = pytest.mark.soak

ENTRIES = 100_000


def test_a_large_log_verifies_and_proves(tmp_path):
    """A hundred thousand entries, each durable on its own: all verify, and proofs at random places hold."""
    seed = random.SystemRandom().randrange(2**32)
    chance = random.Random(seed)
    with Ledger.open(f"sqlite:///{tmp_path / 'ledger.db'}") as ledger:
        for number in range(ENTRIES):
            ledger.append("soak.event", {"number": number})
        assert ledger.verify().size == ENTRIES
        note = ledger.checkpoint()
        for index in (chance.randrange(ENTRIES) for _ in range(1000)):
            proof = ledger.prove(index, checkpoint=note)
            assert proof.verify(ledger.raw(index), [ledger.verifier]).size == ENTRIES, f"seed {seed}"
