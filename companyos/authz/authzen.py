"""AuthZEN on the wire: requests and responses of the Authorization API 1.0, with the Obligations Profile (draft 1).

| AuthZEN | here |
| --- | --- |
| `subject.properties` | `status`, `org_id`, `workspace_id` beside `id`; all else in `subject.attributes` |
| `subject.properties.attributes` | merged into `subject.attributes`; a name that is there already is refused |
| `action.properties` | `environment.action_properties`, which a context may not set by itself |
| `resource.properties` | beside `id` and `type` |
| `context` | `environment`; `supported_obligations` stays in it, for the policies to read |

Of `org_id`, `region` and `jurisdiction` policies read both places: one in `properties` and another in
`properties.attributes` arrive as both.

Members at the top that nobody knows are passed over, as the specification demands for its own future. Members of an
entity outside its `properties` are not: there they would be attributes that no policy sees.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from companyos.authz._lookalikes import as_read
from companyos.authz.interface import EngineError, RequestError
from companyos.authz.profile import OBLIGATION_TYPES, with_own_ids, with_unique_ids
from companyos.authz.request import build_request
from companyos.decision import Obligation, Verdict
from companyos.ports import Opinion

if TYPE_CHECKING:
    from companyos.decision import Decision
    from companyos.ports import AccessRequest

__all__ = (
    "ACTION_PROPERTIES",
    "MAX_EVALUATIONS",
    "SEMANTICS",
    "SUPPORTED_OBLIGATIONS",
    "Batch",
    "Parts",
    "batch_from_authzen",
    "opinion_from_authzen",
    "parts_from_authzen",
    "request_from_authzen",
    "request_to_authzen",
    "response_to_authzen",
)

ACTION_PROPERTIES = "action_properties"
"""Where policies find `action.properties`: `environment.action_properties`."""
SUPPORTED_OBLIGATIONS = "supported_obligations"
"""Member of a context by which a caller says which types of obligation it can carry out."""
SEMANTICS = ("execute_all", "deny_on_first_deny", "permit_on_first_permit")
"""How far a batch is evaluated."""
MAX_EVALUATIONS = 100
"""Most evaluations of one batch."""

_TOP = {as_read(name): name for name in ("subject", "action", "resource", "context", "evaluations", "options")}
_ENTITIES = {"subject": ("type", "id"), "action": ("name",), "resource": ("type", "id")}
"""The members that each entity must have; every one may have `properties` besides."""
_SUBJECT_TOP = ("status", "org_id", "workspace_id")
_SUBJECT_SPELLINGS = {as_read(name): name for name in (*_SUBJECT_TOP, "attributes")}
_CONTEXT = {as_read(name): name for name in (ACTION_PROPERTIES, SUPPORTED_OBLIGATIONS)}
_OPTIONS = {
    as_read(name): "evaluations_semantic"
    for name in ("evaluations_semantic", "evaluation_semantics", "evaluation_semantic")
}
_BOTH = ("org_id", "region", "jurisdiction")
"""What policies read of a subject beside `id` as well as in its attributes; the two may differ, and they judge that."""
_REASON = re.compile(r"[a-z][a-z0-9_+-]*(\.[a-z0-9_+-]+)*")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_MAX_TEXT = 1000


@dataclass(frozen=True, slots=True)
class Parts:
    """The arguments of `authorize()`, not yet checked any further."""

    subject: Mapping[str, Any]
    """Who asks."""
    action: str
    """What is to be done."""
    resource: Mapping[str, Any]
    """To what."""
    environment: Mapping[str, Any]
    """Where and how."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Several evaluations in one request."""

    evaluations: tuple[Any, ...]
    """Each one with the defaults filled in; what is wrong with one is found when its turn comes."""
    semantic: str
    """One of `SEMANTICS`."""

    def ends_with(self, allow: bool) -> bool:
        """Whether the evaluations after this answer are left out."""
        return (self.semantic == "deny_on_first_deny" and not allow) or (
            self.semantic == "permit_on_first_permit" and allow
        )


def request_from_authzen(value: Any) -> AccessRequest:
    """The checked request held by an Access Evaluation request.

    Raises:
        RequestError: it is no such request, or `build_request` refuses it.
    """
    parts = parts_from_authzen(value)
    return build_request(parts.subject, parts.action, parts.resource, parts.environment)


def parts_from_authzen(value: Any) -> Parts:
    """What an Access Evaluation request asks, with every property put where policies read it.

    Raises:
        RequestError: a member is missing, of the wrong type, or would be passed over.
    """
    _check_top(value)
    subject, action, resource = (_entity(name, value) for name in _ENTITIES)
    if not isinstance(action["name"], str):
        raise RequestError("action.name is not text", got=type(action["name"]).__name__, expected="a text")
    return Parts(
        _subject(subject), action["name"], _resource(resource), _environment(value, action.get("properties", {}))
    )


def batch_from_authzen(value: Any) -> Batch | None:
    """The evaluations of an Access Evaluations request; None if it has none and is itself the one evaluation.

    An evaluation that names an entity replaces the whole default for it, but for the required members that it leaves
    out.

    Raises:
        RequestError: the request as a whole cannot be understood.
    """
    _check_top(value)
    evaluations = value.get("evaluations", ())
    if not isinstance(evaluations, list | tuple):
        raise RequestError("evaluations is not an array", got=type(evaluations).__name__, expected="an array")
    semantic = _semantic(value.get("options", {}))
    if not evaluations:
        return None
    if len(evaluations) > MAX_EVALUATIONS:
        raise RequestError("too many evaluations", got=len(evaluations), expected=f"at most {MAX_EVALUATIONS}")
    defaults = {name: value[name] for name in (*_ENTITIES, "context") if name in value}
    return Batch(tuple(_with_defaults(item, defaults) for item in evaluations), semantic)


def request_to_authzen(request: AccessRequest) -> dict[str, Any]:
    """A request as an Access Evaluation request; `request_from_authzen` gives the same one back.

    Raises:
        RequestError: it holds something that would arrive in another place, where policies do not look for it.
    """
    environment = dict(request.environment)
    action: dict[str, Any] = {"name": request.action}
    if ACTION_PROPERTIES in environment:
        action["properties"] = environment.pop(ACTION_PROPERTIES)
    resource = dict(request.resource)
    values = {
        "subject": _with_properties(request.subject, _subject_properties(request.subject)),
        "action": action,
        "resource": _with_properties(
            request.resource, {key: resource[key] for key in resource if key not in {"id", "type"}}
        ),
    }
    return {**values, "context": environment} if environment else values


def response_to_authzen(decision: Decision) -> dict[str, Any]:
    """A decision as an Access Evaluation response: undetermined is `false`, and the context says so.

    `durable` stands beside the id of the ledger's entry: whether the entry is written already, or will be.
    """
    context: dict[str, Any] = {"reason": decision.reason, "verdict": decision.verdict.value}
    if decision.message:
        context["message"] = decision.message
    if decision.audit_id is not None:
        context |= {"audit_id": decision.audit_id, "durable": decision.durable}
    if "policy_digest" in decision.facts:
        context["policy_digest"] = decision.facts["policy_digest"]
    if decision.obligations:
        context["obligations"] = with_unique_ids(item.to_dict() for item in decision.obligations)
    return {"decision": decision.allow, "context": context}


def opinion_from_authzen(value: Any, *, policy_digest: str | None = None) -> Opinion:
    """What an Access Evaluation response says, its obligations included.

    A context without a reason of the form `word.word` gives the reason `authzen.permit` or `authzen.deny`. Its version
    is the `policy_digest` of the context, or else the one that is given.

    Raises:
        EngineError: it is no such response, an obligation is not one of the profile, or nothing could be decided.
    """
    if not isinstance(value, Mapping) or not isinstance(value.get("decision"), bool):
        raise EngineError("the answer is no AuthZEN response", got=_kind(value), expected="an object with a decision")
    context = value.get("context", {})
    if not isinstance(context, Mapping):
        raise EngineError("the answer's context is no object", got=_kind(context))
    reason, message = (context[key] if isinstance(context.get(key), str) else "" for key in ("reason", "message"))
    if context.get("verdict") == Verdict.UNDETERMINED.value:
        raise EngineError("the remote decision point could not decide", got=reason or None)
    obligations = _obligations(context.get("obligations", []))
    if len(reason) > 128 or not _REASON.fullmatch(reason):
        message = message or reason
        reason = "authzen.permit" if value["decision"] else "authzen.deny"
    digest = context.get("policy_digest")
    version = digest if isinstance(digest, str) and _DIGEST.fullmatch(digest) else policy_digest
    return Opinion(value["decision"], reason, message[:_MAX_TEXT], obligations, version)


def _check_top(value: Any) -> None:
    if not isinstance(value, Mapping):
        raise RequestError("a request is a JSON object", got=_kind(value))
    for key in value:
        name = _meant(_TOP, key) if isinstance(key, str) else ""
        if key != name:
            raise RequestError("a member is almost one of the request", got=key, hint=f"write {name}")


def _entity(name: str, value: Mapping[str, Any]) -> Mapping[str, Any]:
    """One entity with its required members there, and nothing in it that would be passed over."""
    if name not in value:
        raise RequestError(f"{name} is missing", expected="an object")
    entity, required = value[name], _ENTITIES[name]
    if not isinstance(entity, Mapping):
        raise RequestError(f"{name} is not an object", got=_kind(entity), expected="an object")
    for key in required:
        if key not in entity:
            raise RequestError(f"{name}.{key} is missing", expected="a text")
    for key in entity:
        if key not in required and key != "properties":
            raise RequestError(
                f"{name} has a member that no policy sees", got=key, hint=f"put it into {name}.properties"
            )
    _object(f"{name}.properties", entity.get("properties", {}))
    return entity


def _object(where: str, value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise RequestError(f"{where} is not an object", got=_kind(value), expected="an object")
    return value


def _subject(entity: Mapping[str, Any]) -> dict[str, Any]:
    subject = {"id": entity["id"], "type": entity["type"]}
    attributes: dict[str, Any] = {}
    properties = entity.get("properties", {})
    for key, value in properties.items():
        name = _meant(_SUBJECT_SPELLINGS, key)
        if key != name:
            raise RequestError("subject.properties has a name that is not the one policies read", got=key, hint=name)
        if key in _SUBJECT_TOP:
            subject[key] = value
        elif key != "attributes":
            attributes[key] = value
    for key, value in _object("subject.properties.attributes", properties.get("attributes", {})).items():
        if key in attributes and key in _BOTH:
            subject[key] = attributes.pop(key)
        if key in attributes or _is_misplaced(key):
            raise RequestError("subject.properties.attributes says what belongs to subject.properties", got=key)
        attributes[key] = value
    return {**subject, "attributes": attributes} if attributes else subject


def _resource(entity: Mapping[str, Any]) -> dict[str, Any]:
    properties = entity.get("properties", {})
    twice = sorted({"id", "type"} & properties.keys())
    if twice:
        raise RequestError(f"resource.properties names the resource once more: {', '.join(twice)}")
    return {**properties, "id": entity["id"], "type": entity["type"]}


def _environment(value: Mapping[str, Any], action_properties: Mapping[str, Any]) -> dict[str, Any]:
    environment = dict(_object("context", value.get("context", {})))
    for key in environment:
        name = _meant(_CONTEXT, key)
        if name == ACTION_PROPERTIES:
            raise RequestError(
                f"context may not set {ACTION_PROPERTIES}", got=key, hint="put it into action.properties"
            )
        if name != key:
            raise RequestError("context has a name that is not the profile's", got=key, hint=name)
    supported = environment.get(SUPPORTED_OBLIGATIONS, [])
    if not isinstance(supported, list) or not all(isinstance(item, str) for item in supported):
        raise RequestError(f"context.{SUPPORTED_OBLIGATIONS} is not an array of texts", got=_kind(supported))
    if action_properties:
        environment[ACTION_PROPERTIES] = dict(action_properties)
    return environment


def _semantic(options: Any) -> str:
    for key in _object("options", options):
        if key != "evaluations_semantic" and _meant(_OPTIONS, key) == "evaluations_semantic":
            raise RequestError("an option is almost one that is known", got=key, hint="write evaluations_semantic")
    semantic = options.get("evaluations_semantic", SEMANTICS[0])
    if semantic not in SEMANTICS:
        raise RequestError("options.evaluations_semantic is not known", got=semantic, expected=", ".join(SEMANTICS))
    return str(semantic)


def _with_defaults(item: Any, defaults: Mapping[str, Any]) -> Any:
    if not isinstance(item, Mapping):
        return item
    merged = {**defaults, **item}
    for name, required in _ENTITIES.items():
        mine, default = item.get(name), defaults.get(name)
        if isinstance(mine, Mapping) and isinstance(default, Mapping):
            merged[name] = {**{key: default[key] for key in required if key in default}, **mine}
    return merged


def _subject_properties(subject: Mapping[str, Any]) -> dict[str, Any]:
    properties = dict(subject.get("attributes", {}))
    for key in properties:
        if _is_misplaced(key):
            raise RequestError("subject.attributes has a name that AuthZEN has another place for", got=key)
    both: dict[str, Any] = {"org_id": properties.pop("org_id")} if "org_id" in properties else {}
    for key in subject.keys() - {"id", "type", "attributes"}:
        if key not in (*_SUBJECT_TOP, *_BOTH):
            raise RequestError("the subject says something that has no place in AuthZEN", got=key, hint="attributes")
        if key in properties:
            both[key] = properties[key]
        properties[key] = subject[key]
    return {**properties, "attributes": both} if both else properties


def _with_properties(entity: Mapping[str, Any], properties: Mapping[str, Any]) -> dict[str, Any]:
    named = {"type": entity["type"], "id": entity["id"]}
    return {**named, "properties": dict(properties)} if properties else named


def _obligations(values: Any) -> tuple[Obligation, ...]:
    if not isinstance(values, list):
        raise EngineError("the answer's obligations are no array", got=_kind(values))
    return with_own_ids(_obligation(value) for value in values)


def _obligation(value: Any) -> Obligation:
    well = (
        isinstance(value, Mapping)
        and isinstance(value.get("id"), str)
        and value["id"]
        and value.get("type") in OBLIGATION_TYPES
        and isinstance(value.get("properties"), Mapping)
    )
    if not well:
        raise EngineError(
            "an obligation of the answer is not of the profile",
            got=_kind(value),
            expected=f"id, type ({', '.join(OBLIGATION_TYPES)}) and properties",
        )
    return Obligation(value["id"], value["type"], value["properties"])


def _kind(value: Any) -> str:
    return type(value).__name__


def _is_misplaced(key: Any) -> bool:
    """Whether an attribute's name reads like one that AuthZEN has beside the attributes, and nowhere else."""
    return key not in _BOTH and _meant(_SUBJECT_SPELLINGS, key) in _SUBJECT_SPELLINGS.values()


def _meant(names: Mapping[str, str], key: Any) -> Any:
    """The name that a key is taken for, if it is for one of these; otherwise the key."""
    return names.get(as_read(key), key) if isinstance(key, str) else key
