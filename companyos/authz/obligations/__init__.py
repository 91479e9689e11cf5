"""Handlers of the playbook's obligations and of the profile's types, one a file."""

from __future__ import annotations

from companyos.authz.obligations.log_event import LogEvent
from companyos.authz.obligations.mask_fields import MaskFields, mask
from companyos.authz.obligations.mask_lines import JsonLines, MaskStreamError, mask_lines
from companyos.authz.obligations.mask_text import JsonText, mask_json
from companyos.authz.obligations.notification import Notification
from companyos.authz.obligations.require_approval import RequireApproval
from companyos.authz.obligations.require_mfa import RequireMfa
from companyos.authz.obligations.session_termination import SessionTermination
from companyos.authz.obligations.step_up import StepUp

__all__ = (
    "JsonLines",
    "JsonText",
    "LogEvent",
    "MaskFields",
    "MaskStreamError",
    "Notification",
    "RequireApproval",
    "RequireMfa",
    "SessionTermination",
    "StepUp",
    "mask",
    "mask_json",
    "mask_lines",
)
