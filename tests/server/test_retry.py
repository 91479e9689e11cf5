"""What was refused for a reason that passes is tried again, though nothing changed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from companyos.authz.authzen import parts_from_authzen
from companyos.company import Company
from companyos.server import Pdp, Reloader
from companyos.server.promoted import PromotedPolicies
from tests.server.conftest import entries, request
from tests.server.shelf import Shelf, reason
from tests.server.test_authentication import until


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
