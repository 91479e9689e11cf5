"""Old schemas of a log and the way from each to the next; only an old log needs what is in here."""

from __future__ import annotations

from companyos._extras import require

for _library in ("sqlalchemy", "alembic"):
    require(_library, extra="ledger-migrations")
