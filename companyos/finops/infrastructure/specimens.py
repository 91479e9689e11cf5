"""Infrastructure with what FINOPS-TAGS must find planted, and clean cases that look like it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from companyos.controls import Specimen, tree_specimen
from companyos.finops.infrastructure.checking import check_infrastructure

if TYPE_CHECKING:
    from companyos.decision import Decision

__all__ = ("SPECIMENS", "check_tree")


def check_tree(root: Path | str) -> Decision:
    """Judge the infrastructure in a directory."""
    return check_infrastructure([Path(root)])


def _terraform(kind: str, body: dict[str, Any], **more: Any) -> dict[str, str]:
    return {"main.tf.json": json.dumps({"resource": {kind: {"it": body}}} | more)}


def _plan(kind: str, values: dict[str, Any]) -> dict[str, str]:
    one = {"address": f"module.a.{kind}.it", "mode": "managed", "type": kind, "values": values}
    module = {"child_modules": [{"resources": [one]}]}
    return {"plan.json": json.dumps({"format_version": "1.2", "planned_values": {"root_module": module}})}


def _manifest(kind: str, labels: str, spec: str = "{}", extra: str = "") -> dict[str, str]:
    api = {"Deployment": "apps/v1", "StatefulSet": "apps/v1", "Job": "batch/v1"}.get(kind, "v1")
    return {
        "k8s/it.yaml": f"apiVersion: {api}\nkind: {kind}\n"
        f"metadata: {{name: it, namespace: shop, labels: {{{labels}}}}}\n"
        f"spec: {{template: {{metadata: {{}}, spec: {spec}}}}}\n{extra}"
    }


_NAMESPACE = "---\napiVersion: v1\nkind: Namespace\nmetadata: {name: shop, labels: {%s}}\n"
_CI = "CostCenter: CRM, workload: ci"
_AFFINITY = (
    "{affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms:"
    " [{matchExpressions: [{key: karpenter.sh/capacity-type, operator: In, values: [%s]}]}]}}}}"
)
_MISSING, _TTL, _SPOT = "FINOPS-TAGS.missing", "FINOPS-TAGS.ttl", "FINOPS-TAGS.spot"

_PLANTED = (
    ("a bucket without tags", _terraform("aws_s3_bucket", {"bucket": "b"}), _MISSING),
    ("a tag under another key", _terraform("aws_instance", {"tags": {"cost-center": "CRM"}}), _MISSING),
    ("a tag without a value", _terraform("aws_instance", {"tags": {"CostCenter": " "}}), _MISSING),
    ("an untagged database in a module of a plan", _plan("aws_db_instance", {"tags_all": {"team": "a"}}), _MISSING),
    ("a deployment without the label", _manifest("Deployment", "app: it"), _MISSING),
    ("a service of a compose file", {"compose.yaml": "services:\n  web:\n    image: nginx\n"}, _MISSING),
    ("a preview namespace without TTL", _manifest("Namespace", "CostCenter: CRM, type: preview"), _TTL),
    (
        "a preview of five hours",
        _plan("aws_instance", {"tags": {"CostCenter": "CRM", "env": "pr-7", "TTL": "5h"}}),
        _TTL,
    ),
    ("a TTL of 240 of something", _manifest("Deployment", 'CostCenter: CRM, env: preview, ttl: "240"'), _TTL),
    (
        "a preview by its namespace's name",
        {"n.yaml": _NAMESPACE.replace("shop", "preview-12") % "CostCenter: CRM"},
        _TTL,
    ),
    ("CI on nodes of any kind", _manifest("Job", _CI), _SPOT),
    ("CI that may also run on demand", _manifest("Deployment", _CI, _AFFINITY % "spot, on-demand"), _SPOT),
    ("a CI runner on demand", _terraform("aws_instance", {"tags": {"CostCenter": "1", "purpose": "ci-runner"}}), _SPOT),
)
_CLEAN = (
    (
        "tags by default of the provider",
        _terraform("aws_instance", {}, provider={"aws": {"default_tags": {"tags": {"CostCenter": "CRM"}}}}),
    ),
    (
        "tags out of a local value",
        _terraform("aws_instance", {"tags": "${local.tags}"}, locals={"tags": {"CostCenter": "CRM"}}),
    ),
    (
        "a database in a module of a plan, tagged",
        _plan("aws_db_instance", {"tags": None, "tags_all": {"CostCenter": "CRM"}}),
    ),
    ("labels of Google are in lower case", _terraform("google_storage_bucket", {"labels": {"cost_center": "crm"}})),
    ("the label of the namespace", _manifest("Deployment", "app: it", extra=_NAMESPACE % "CostCenter: CRM")),
    ("a preview of four hours", _manifest("Deployment", "CostCenter: CRM, env: preview, ttl: 4h")),
    ("an environment that is called production", _manifest("Deployment", "CostCenter: CRM, env: production")),
    (
        "a preview in a namespace that ends",
        _manifest("Deployment", "env: preview", extra=_NAMESPACE % "CostCenter: CRM, type: preview, ttl: PT3H30M"),
    ),
    ("CI on spot nodes", _manifest("Job", _CI, "{nodeSelector: {lifecycle: spot}}")),
    ("CI by affinity on spot nodes", _manifest("Job", _CI, _AFFINITY % "spot")),
    ("CI that keeps state", _manifest("StatefulSet", _CI)),
    ("a compose file with labels in a list", {"compose.yml": "services:\n  web:\n    labels: [CostCenter=CRM]\n"}),
)

SPECIMENS: tuple[Specimen, ...] = (
    *(tree_specimen(name, dict(files), violates=rule) for name, files, rule in _PLANTED),
    *(tree_specimen(name, dict(files)) for name, files in _CLEAN),
)
"""Planted violations and clean cases; none of them needs the reader of HCL."""
