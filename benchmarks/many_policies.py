"""A company's policies, written three times: for Rego laid out in directories, for Cedar and for Casbin.

Beside the four of the playbook each service has four of its own, each about one action. All three say the same of the
requests here: the point is what it costs to find the few policies that matter among a thousand.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ("ACTIONS", "SERVICES", "casbin_enforcer", "cedar_entities", "cedar_policies", "request", "write_rego")

SERVICES = 249
ACTIONS = ("read", "write", "delete", "export")
DOMAINS = 10
USER = {"id": "u-1", "type": "user", "status": "active", "attributes": {"clearance": "high", "region": "eu"}}
_CORE_CEDAR = """
permit(principal, action in [Action::"read", Action::"export"], resource);
permit(principal, action in [Action::"write", Action::"delete"], resource) when { resource.owner == principal };
forbid(principal, action, resource) when { principal.status != "active" };
forbid(principal, action, resource) when { resource.contains_pii && !resource.in_eea };
"""
_CASBIN_MODEL = """
[request_definition]
r = sub, obj, act
[policy_definition]
p = rule, service, act, eft
[policy_effect]
e = some(where (p.eft == allow)) && !some(where (p.eft == deny))
[matchers]
m = (p.service == "*" || p.service == r.obj.service) && (p.act == "*" || p.act == r.act) && eval(p.rule)
"""
_CASBIN_CORE = (
    ("True", "*", "read", "allow"),
    ("r.obj.owner == r.sub.id", "*", "write", "allow"),
    ("r.sub.status != 'active'", "*", "*", "deny"),
    ("r.obj.contains_pii and not r.obj.in_eea", "*", "*", "deny"),
)


def domain_of(service: int) -> str:
    """The domain a service belongs to."""
    return f"domain-{service % DOMAINS}"


def request(
    service: int, action: str = "read", *, personal: bool = True
) -> tuple[dict[str, Any], str, dict[str, Any], dict[str, Any]]:
    """A request about a document of a service, with what all three engines need of it."""
    resource = {
        "id": "d-1",
        "type": "document",
        "owner": "u-1",
        "region": "eu-west-1",
        "contains_pii": personal,
        "domain": domain_of(service),
        "service": f"service-{service}",
        "level": 1,
    }
    return USER, action, resource, {"auth_strength": "mfa"}


def write_rego(root: Path, services: int = SERVICES) -> Path:
    """Write `<domain>/<service>/prod/1.0.0/<action>.rego` for so many services."""
    for service in range(services):
        directory = root / domain_of(service) / f"service-{service}" / "prod" / "1.0.0"
        directory.mkdir(parents=True)
        (directory / "metadata.yaml").write_text(f"owner: team-{service}\nversion: 1.0.0\nextends: playbook\n")
        for number, action in enumerate(ACTIONS):
            (directory / f"{action}.rego").write_text(_rego(service, action, number))
    return root


def _rego(service: int, action: str, number: int) -> str:
    return f"""package companyos.access

import rego.v1

deny contains {{"id": "service-{service}.{action}", "message": "above what the service allows"}} if {{
	input.resource.domain == "{domain_of(service)}"
	input.resource.service == "service-{service}"
	input.action == "{action}"
	input.resource.level > {number + 2}
}}
"""


def cedar_policies(services: range | tuple[int, ...]) -> str:
    """The core and the policies of some services, as Cedar."""
    own = (
        f'forbid(principal, action == Action::"{action}", resource) when '
        f'{{ resource.domain == "{domain_of(service)}" && resource.service == "service-{service}" '
        f"&& resource.level > {number + 2} }};"
        for service in services
        for number, action in enumerate(ACTIONS)
    )
    return _CORE_CEDAR + "\n".join(own)


def cedar_entities(service: int) -> list[dict[str, Any]]:
    """The subject and the resource of `request(service)`, as Cedar entities."""
    resource = request(service)[2]
    names = ("domain", "service", "level", "contains_pii")
    attributes = {name: resource[name] for name in names} | {"in_eea": True, "owner": {"__entity": _uid("User", "u-1")}}
    return [
        {"uid": _uid("User", "u-1"), "attrs": {"status": "active"}, "parents": []},
        {"uid": _uid("Document", "d-1"), "attrs": attributes, "parents": []},
    ]


def _uid(kind: str, name: str) -> dict[str, str]:
    return {"type": kind, "id": name}


def casbin_enforcer(services: int = SERVICES) -> Any:
    """A Casbin enforcer with the core and the policies of so many services."""
    casbin: Any = importlib.import_module("casbin")
    enforcer = casbin.Enforcer(casbin.Enforcer.new_model(text=_CASBIN_MODEL))
    rules = [
        (f"r.obj.level > {number + 2}", f"service-{service}", action, "deny")
        for service in range(services)
        for number, action in enumerate(ACTIONS)
    ]
    enforcer.add_policies([*_CASBIN_CORE, *rules])
    return enforcer
