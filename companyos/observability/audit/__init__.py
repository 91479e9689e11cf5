"""The audit trail: who did what to what, under which policy; signed, on the ledger, and apart from the log lines.

No log level, sampler or `OTEL_*` variable reaches it: an audit record is an entry of the ledger or an error.
"""

from __future__ import annotations

from companyos.observability.audit.errors import AuditFailedError
from companyos.observability.audit.reading import records
from companyos.observability.audit.record import FIELDS, RETENTION, SOURCE, TYPE
from companyos.observability.audit.trail import AuditTrail
from companyos.observability.audit.verification import check_trail, problem_of

__all__ = (
    "FIELDS",
    "RETENTION",
    "SOURCE",
    "TYPE",
    "AuditFailedError",
    "AuditTrail",
    "check_trail",
    "problem_of",
    "records",
)
