"""What was refused for a reason that passes is tried again, though nothing changed."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta

import pytest

from companyos.authz import Authorizer
from companyos.authz.authzen import parts_from_authzen
from companyos.company import Company
from companyos.config import AuthzSection
from companyos.ledger import Ledger
from companyos.server import ConfiguredPolicies, Pdp, PromotedPolicies, Reloader
from companyos.server.reload import ENTRY
from tests.server.conftest import POLICY, entries, request, write_policies
from tests.server.shelf import Shelf, reason
from tests.server.test_authentication import until
from tests.server.test_reload import children


@pytest.fixture
def shelf(tmp_path):
    """A company with a bundle in prod."""
    made = Shelf(tmp_path / "company")
    made.release("1.0.0")
    return made


def test_a_key_that_does_not_count_yet_is_tried_again(shelf):
    """A bundle whose key begins to count in a moment is refused, told of once, and taken when the moment has come."""
    parts = parts_from_authzen(request())
    with (
        Company.open(shelf.directory) as company,
        PromotedPolicies(company.bundle_place, company.ledger, workers=1) as source,
    ):
        reloader = Reloader(source, company.authorizer_for, company.ledger, retry_seconds=0)
        pdp = Pdp(reloader.first())
        try:

            def decided():
                reloader.look(pdp)
                asked = pdp.authorizer.authorize(parts.subject, parts.action, parts.resource)
                return asked.reason, reloader.status().refused is None

            begins = datetime.now(UTC) + timedelta(seconds=8)
            shelf.trust(not_before=begins.isoformat())
            until(lambda: decided() == ("policy.withdrawn", False))
            until(lambda: decided() == (reason("1.0.0"), True))
            assert datetime.now(UTC) >= begins
        finally:
            reloader.close()
            pdp.close()

    first, *told = entries(shelf.directory, "companyos.server.policies")
    assert first.data["outcome"] == "loaded"
    assert ["bundle.key_not_yet_valid" in entry.data["problem"] for entry in told] == [True]


def test_policies_that_cannot_be_put_on_the_ledger_are_tried_again(tmp_path):
    """While the ledger refuses the entry nothing is exchanged and no workers are left; once it takes it, it is done."""
    directory, refuses = tmp_path / "policies", []
    write_policies(directory, {"policy.rego": POLICY})

    def veto(kind, _):
        return "not now" if refuses and kind == ENTRY else None

    with Ledger.open(f"sqlite:///{tmp_path / 'ledger.db'}", validators=(veto,)) as ledger:
        source = ConfiguredPolicies(AuthzSection(policies=("policies",)), tmp_path, workers=1)
        reloader = Reloader(source, lambda engine: Authorizer(engine, ledger), ledger)
        pdp = Pdp(reloader.first())
        try:
            before, started = reloader.status().policy_digest, len(children(os.getpid()))
            refuses.append(True)
            write_policies(directory, {"policy.rego": POLICY.replace("cert.read", "cert.other")})
            assert [reloader.look(pdp) for _ in range(3)] == [False] * 3
            assert (reloader.status().policy_digest, len(children(os.getpid()))) == (before, started)
            refuses.clear()

            assert reloader.look(pdp)
            assert reloader.status().policy_digest != before
        finally:
            reloader.close()
            pdp.close()
