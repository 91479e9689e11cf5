"""Shapes of the API as JSON Schema, from the AuthZEN specification, for the OpenAPI document."""

from __future__ import annotations

from typing import Any

from companyos.authz.authzen import MAX_EVALUATIONS, SEMANTICS
from companyos.authz.profile import OBLIGATION_TYPES
from companyos.authz.request import MAX_ID

__all__ = ("EVALUATION", "EVALUATIONS", "METADATA", "operation")

_NAME: dict[str, Any] = {"type": "string", "minLength": 1, "maxLength": MAX_ID}
_PROPERTIES: dict[str, Any] = {"type": "object"}


def _entity(**names: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "required": list(names),
        "properties": {**names, "properties": _PROPERTIES},
        "additionalProperties": False,
    }


_PARTS: dict[str, Any] = {
    "subject": _entity(type=_NAME, id=_NAME),
    "action": _entity(name=_NAME),
    "resource": _entity(type=_NAME, id=_NAME),
    "context": {
        "type": "object",
        "properties": {"supported_obligations": {"type": "array", "items": {"type": "string"}}},
    },
}
_OBLIGATION: dict[str, Any] = {
    "type": "object",
    "required": ["id", "type", "properties"],
    "properties": {
        "id": {"type": "string"},
        "type": {"enum": list(OBLIGATION_TYPES)},
        "properties": {"type": "object"},
    },
}
_DECISION: dict[str, Any] = {
    "type": "object",
    "required": ["decision"],
    "properties": {
        "decision": {"type": "boolean"},
        "context": {
            "type": "object",
            "required": ["reason"],
            "dependentRequired": {"audit_id": ["durable"], "durable": ["audit_id"]},
            "properties": {
                "reason": {"type": "string", "description": "Stable id of the policy or rule that decided."},
                "message": {"type": "string", "description": "The same for a person."},
                "verdict": {"enum": ["allow", "deny", "undetermined"]},
                "audit_id": {"type": "string", "description": "The entry of the ledger that records the decision."},
                "durable": {
                    "type": "boolean",
                    "description": "Whether that entry is written already; a read of low risk may be recorded later.",
                },
                "policy_digest": {"type": "string"},
                "obligations": {"type": "array", "items": _OBLIGATION},
                "error": {
                    "type": "object",
                    "required": ["status", "message"],
                    "properties": {"status": {"type": "integer"}, "message": {"type": "string"}},
                },
            },
        },
    },
}
EVALUATION: tuple[dict[str, Any], dict[str, Any]] = (
    {"type": "object", "required": ["subject", "action", "resource"], "properties": _PARTS},
    _DECISION,
)
"""Request and response of the Access Evaluation API."""
EVALUATIONS: tuple[dict[str, Any], dict[str, Any]] = (
    {
        "type": "object",
        "properties": {
            **_PARTS,
            "evaluations": {"type": "array", "maxItems": MAX_EVALUATIONS, "items": {"type": "object"}},
            "options": {"type": "object", "properties": {"evaluations_semantic": {"enum": list(SEMANTICS)}}},
        },
    },
    {
        "oneOf": [
            _DECISION,
            {
                "type": "object",
                "required": ["evaluations"],
                "properties": {"evaluations": {"type": "array", "items": _DECISION}},
            },
        ]
    },
)
"""Request and response of the Access Evaluations API."""
METADATA: dict[str, Any] = {
    "type": "object",
    "required": ["policy_decision_point", "access_evaluation_endpoint"],
    "properties": {
        "policy_decision_point": {"type": "string"},
        "access_evaluation_endpoint": {"type": "string"},
        "access_evaluations_endpoint": {"type": "string"},
        "supported_obligations": {"type": "array", "items": {"enum": list(OBLIGATION_TYPES)}},
    },
}
"""The metadata document."""
_ERRORS = {
    "400": "The request is malformed.",
    "401": "The caller did not show who it is.",
    "403": "The caller may not ask.",
    "408": "The body did not come in time.",
    "413": "The body is too large.",
    "429": "The caller asks too often; see Retry-After.",
    "431": "The headers are too many.",
    "500": "The server failed.",
    "503": "The caller cannot be verified at present, or the server is full.",
}


def operation(request: dict[str, Any], response: dict[str, Any]) -> dict[str, Any]:
    """What an OpenAPI operation says of body, answers and credentials."""
    message = {"text/plain": {"schema": {"type": "string"}}}
    return {
        "requestBody": {"required": True, "content": {"application/json": {"schema": request}}},
        "parameters": [
            {
                "name": "X-Request-ID",
                "in": "header",
                "required": False,
                "schema": {"type": "string", "pattern": "^[!-~]{1,128}$"},
            }
        ],
        "responses": {
            "200": {"description": "Decided.", "content": {"application/json": {"schema": response}}},
            **{status: {"description": text, "content": message} for status, text in _ERRORS.items()},
        },
        "security": [{"bearer": []}, {"key": []}],
    }
