"""Handlers of the playbook's obligations, one a file."""

from __future__ import annotations

from companyos.authz.obligations.log_event import LogEvent
from companyos.authz.obligations.mask_fields import MaskFields, mask
from companyos.authz.obligations.require_approval import RequireApproval
from companyos.authz.obligations.require_mfa import RequireMfa

__all__ = ("LogEvent", "MaskFields", "RequireApproval", "RequireMfa", "mask")
