"""Requests that several test files ask about."""

from __future__ import annotations

from companyos.authz import build_request

READ = build_request({"id": "u-1", "type": "user"}, "read", {"id": "d-1", "type": "document"})
UNKNOWN = build_request({"id": "u-1", "type": "user"}, "launch", {"id": "d-1", "type": "document"})
MASKED = build_request(
    {"id": "u-1", "type": "user", "attributes": {"clearance": "low"}},
    "read",
    {"id": "d-1", "type": "document", "required_clearance": "high"},
)
