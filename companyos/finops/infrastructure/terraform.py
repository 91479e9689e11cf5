"""Terraform: HCL and its JSON form, and plans as `terraform show -json` prints them.

HCL is read and not run: literals, `local.NAME`, `var.NAME` with a default, and `merge(…)` of those are evaluated; any
other expression is unresolved. A plan has everything evaluated.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from companyos._extras import require
from companyos.finops.infrastructure.interface import Resource

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

__all__ = ("EXTRA", "Module", "parse_hcl", "plan_resources")

EXTRA = "finops-terraform"
"""The optional dependencies that read HCL."""
_COSTLY = frozenset(
    """
    aws_autoscaling_group aws_cloudfront_distribution aws_db_instance aws_dynamodb_table aws_ebs_volume aws_ecs_cluster
    aws_ecs_service aws_efs_file_system aws_eks_cluster aws_eks_node_group aws_elasticache_cluster
    aws_elasticache_replication_group aws_instance aws_kinesis_stream aws_lambda_function aws_launch_template aws_lb
    aws_msk_cluster aws_nat_gateway aws_opensearch_domain aws_rds_cluster aws_redshift_cluster aws_s3_bucket
    aws_sagemaker_endpoint aws_spot_instance_request aws_sqs_queue azurerm_container_group azurerm_kubernetes_cluster
    azurerm_linux_virtual_machine azurerm_managed_disk azurerm_mssql_database azurerm_postgresql_flexible_server
    azurerm_redis_cache azurerm_resource_group azurerm_storage_account azurerm_windows_virtual_machine
    google_bigquery_dataset google_cloud_run_v2_service google_cloudfunctions2_function google_compute_disk
    google_compute_instance google_container_cluster google_pubsub_topic google_redis_instance google_storage_bucket
    """.split()  # noqa: SIM905 - a table of names reads better than a list of quoted ones
)
"""Types that cost money and take tags; of any other type those are judged that have tags."""
_TAGS = ("tags_all", "tags", "effective_labels", "labels")
_LOOKUP = re.compile(r"\$\{(local|var)\.([A-Za-z_][A-Za-z0-9_-]*)\}")
_MERGE = re.compile(r"\$\{merge\((.*)\)\}", re.DOTALL)
_DEPTH = 16


def parse_hcl(text: str) -> dict[str, Any]:
    """The blocks of a file of HCL.

    Raises:
        MissingExtraError: the reader of HCL is not installed.
        ValueError: it is not HCL.
    """
    hcl2, utils = require("hcl2", extra=EXTRA), require("hcl2.utils", extra=EXTRA)
    options = utils.SerializationOptions(with_comments=False, explicit_blocks=False, strip_string_quotes=True)
    try:
        found: dict[str, Any] = hcl2.loads(text if text.endswith("\n") else f"{text}\n", serialization_options=options)
    except Exception as error:  # the parser's own, of another library
        raise ValueError(f"not HCL: {str(error).splitlines()[0]}") from error
    return found


class Module:
    """The files of one directory, which see each other's locals and variables."""

    def __init__(self) -> None:
        self._files: list[tuple[str, str, dict[str, Any]]] = []

    def add(self, path: str, text: str, blocks: dict[str, Any]) -> None:
        """Take in one file."""
        self._files.append((path, text, blocks))

    def resources(self) -> Iterator[Resource]:
        """Everything that is to be judged."""
        values = {("local", name): value for block in self._blocks("locals") for name, value in block.items()}
        for block in self._blocks("variable"):
            for name, body in block.items():
                for one in _listed(body):
                    if "default" in one:
                        values["var", name] = one["default"]
        evaluator = _Evaluator(values)
        defaults = {
            (name, str(one.get("alias", ""))): _tags_of((_listed(one.get("default_tags")) or [{}])[0], evaluator)
            for block in self._blocks("provider")
            for name, body in block.items()
            for one in _listed(body)
        }
        for path, text, blocks in self._files:
            for kind, name, body in _named(blocks.get("resource")):
                yield from _resource((path, _line(text, kind, name)), (kind, name), body, evaluator, defaults)

    def _blocks(self, kind: str) -> Iterator[dict[str, Any]]:
        for _, _, blocks in self._files:
            yield from _listed(blocks.get(kind))


def plan_resources(path: str, plan: Mapping[str, Any]) -> Iterator[Resource]:
    """Everything that is to be judged in a plan."""
    unknown = {
        change["address"]: (change.get("change") or {}).get("after_unknown") or {}
        for change in plan.get("resource_changes") or ()
    }
    for body in _planned((plan.get("planned_values") or {}).get("root_module") or {}):
        values = body.get("values") or {}
        told = [name for name in _TAGS if unknown.get(body["address"], {}).get(name)]
        tags = next(({k: str(v) for k, v in values[name].items()} for name in _TAGS if values.get(name)), {})
        tags |= _tag_blocks(values.get("tag"), lambda value: value)
        if body.get("mode", "managed") == "managed" and (body["type"] in _COSTLY or tags or told):
            yield _made((path, None), (body["type"], body["address"]), values, tags, tuple(told) if not tags else ())


def _planned(module: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield from module.get("resources") or ()
    for child in module.get("child_modules") or ():
        yield from _planned(child)


def _named(blocks: Any) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Blocks with two labels; JSON may hold each level once or in a list."""
    for block in _listed(blocks):
        for kind, named in block.items():
            for group in _listed(named):
                for name, body in group.items():
                    for one in _listed(body):
                        yield kind, name, one


class _Evaluator:
    def __init__(self, values: Mapping[tuple[str, str], Any]) -> None:
        self._values = values

    def value(self, value: Any, depth: int = 0) -> Any:
        """The value, with what can be looked up looked up."""
        if not isinstance(value, str) or depth > _DEPTH:
            return value
        match = _LOOKUP.fullmatch(value)
        if match and (match[1], match[2]) in self._values:
            return self.value(self._values[match[1], match[2]], depth + 1)
        return value

    def mapping(self, value: Any, depth: int = 0) -> tuple[dict[str, str], tuple[str, ...]]:
        """The tags that an expression comes to, and the parts that cannot be told."""
        value = self.value(value)
        if value is None:
            return {}, ()
        if isinstance(value, dict):
            return {str(k).strip('"'): _text(self.value(v)) for k, v in value.items() if not k.startswith("__")}, ()
        merged = _MERGE.fullmatch(str(value))
        if merged is None or depth > _DEPTH:
            return {}, (str(value),)
        tags: dict[str, str] = {}
        unresolved: tuple[str, ...] = ()
        for part in _arguments(merged[1]):
            known, unknown = self.mapping(_expression(part), depth + 1)
            tags |= known
            unresolved += unknown
        return tags, unresolved


def _expression(text: str) -> Any:
    try:
        return parse_hcl(f"x = {text}\n")["x"]
    except ValueError:
        return f"${{{text}}}"


def _arguments(text: str) -> list[str]:
    """The arguments of a call, parted at the commas that stand in no bracket and no quotes."""
    parts, depth, quoted = [""], 0, False
    for before, char in zip(" " + text, text, strict=False):
        quoted ^= char == '"' and before != "\\"
        depth += 0 if quoted else (char in "([{") - (char in ")]}")
        if char == "," and not depth and not quoted:
            parts.append("")
        else:
            parts[-1] += char
    return [part.strip() for part in parts if part.strip()]


def _resource(
    place: tuple[str, int | None],
    label: tuple[str, str],
    body: Mapping[str, Any],
    evaluator: _Evaluator,
    defaults: Mapping[tuple[str, str], tuple[dict[str, str], tuple[str, ...]]],
) -> Iterator[Resource]:
    kind, name = label
    own, unresolved = _tags_of(body, evaluator)
    own |= _tag_blocks(body.get("tag"), evaluator.value)
    if kind not in _COSTLY and not own and not unresolved:
        return
    provider, _, alias = str(body.get("provider", kind.partition("_")[0])).strip("${}").partition(".")
    inherited, unknown = defaults.get((provider, alias), ({}, ()))
    yield _made(place, (kind, f"{kind}.{name}"), body, inherited | own, unresolved + unknown)


def _made(
    place: tuple[str, int | None],
    label: tuple[str, str],
    body: Mapping[str, Any],
    tags: dict[str, str],
    unresolved: tuple[str, ...],
) -> Resource:
    kind, address = label
    spot = _SPOT.get(kind)
    return Resource(
        address,
        place[0],
        place[1],
        tags,
        unresolved,
        None if spot is None else spot(body),
        keeps_state=any(key.casefold() == "stateful" and value.casefold() == "true" for key, value in tags.items()),
        folds_keys=kind.startswith("google_"),
    )


def _tags_of(body: Mapping[str, Any], evaluator: _Evaluator) -> tuple[dict[str, str], tuple[str, ...]]:
    found = next((body[name] for name in ("tags", "labels") if body.get(name) is not None), None)
    return evaluator.mapping(found)


def _tag_blocks(blocks: Any, value: Callable[[Any], Any]) -> dict[str, str]:
    """The tags of an autoscaling group, each a block of its own."""
    return {str(one["key"]): _text(value(one.get("value"))) for one in _listed(blocks) if "key" in one}


def _first(body: Mapping[str, Any], block: str) -> Mapping[str, Any]:
    return (_listed(body.get(block)) or [{}])[0]


def _is(value: Any, text: str) -> bool:
    return str(value).casefold() == text


def _market(body: Mapping[str, Any]) -> bool:
    return _is(_first(body, "instance_market_options").get("market_type"), "spot")


def _scheduled(body: Mapping[str, Any]) -> bool:
    scheduling = _first(body, "scheduling")
    return _is(scheduling.get("provisioning_model"), "spot") or scheduling.get("preemptible") is True


_SPOT: dict[str, Callable[[Mapping[str, Any]], bool]] = {
    "aws_eks_node_group": lambda body: _is(body.get("capacity_type"), "spot"),
    "aws_instance": _market,
    "aws_launch_template": _market,
    "aws_spot_instance_request": lambda _: True,
    "azurerm_linux_virtual_machine": lambda body: _is(body.get("priority"), "spot"),
    "azurerm_windows_virtual_machine": lambda body: _is(body.get("priority"), "spot"),
    "google_compute_instance": _scheduled,
}


def _listed(value: Any) -> list[dict[str, Any]]:
    items = value if isinstance(value, list) else [value]
    return [item for item in items if isinstance(item, dict)]


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else str(value)


def _line(text: str, kind: str, name: str) -> int | None:
    found = re.search(rf'resource\s+"{re.escape(kind)}"\s+"{re.escape(name)}"', text)
    return text.count("\n", 0, found.start()) + 1 if found else None
