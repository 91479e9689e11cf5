"""`companyos.yaml`, typed: one section per room, environment overrides, unknown keys refused.

`COMPANYOS__SECTION__KEY=value` overrides a key; the value is read as YAML. Relative paths are relative to the
directory of the file.
"""

from __future__ import annotations

import difflib
import os
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator

from companyos.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from yaml import MarkedYAMLError

__all__ = ("FILE_NAME", "Budget", "Settings", "find", "json_schema", "load", "parse_yaml")

FILE_NAME = "companyos.yaml"
ENVIRONMENT_PREFIX = "COMPANYOS__"
_MEND = "mend the place named above"


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class CompanySection(_Section):
    """Who this is."""

    name: str = Field("company", pattern=r"^[a-z][a-z0-9-]{0,62}$", description="Short name, as in host names.")
    region: str = Field("eu", description="Home region; judged by the jurisdiction table.")
    state_dir: Path = Field(Path(".companyos"), description="Where working state lives.")


class WitnessSetting(_Section):
    """One witness of the log."""

    url: str = Field(description="Where it takes checkpoints, `https://…`.")
    key: str = Field(description="Its verifier key, `name+hash+base64`.")


class LedgerSection(_Section):
    """The one log."""

    url: str = Field("sqlite:///.companyos/ledger.db", description="Store of the log, as a URL.")
    origin: str | None = Field(None, description="Origin line of checkpoints; default `<company>.companyos/log`.")
    key: str = Field("file:.companyos/keys/ledger.pem", description="URI of the private key that signs checkpoints.")
    keystore: Path = Field(
        Path(".companyos/keys/people.db"), description="Where the keys of data subjects live; never with the log."
    )
    detached_limit: int = Field(16 * 1024 * 1024, gt=0, description="Largest detached payload, in bytes.")
    witnesses: tuple[WitnessSetting, ...] = Field((), description="Who cosigns the log's checkpoints.")
    retention_days: dict[str, int] = Field(
        default_factory=lambda: {
            "audit": 2557,
            "general": 731,
            "pii": 1096,
            "restricted": 183,
            "sensitive": 365,
            "telemetry": 90,
        },
        description="Days for which detached payloads are kept, by retention class.",
    )
    clock_tolerance_seconds: int | None = Field(
        60, ge=0, description="How far the clock may be behind the newest entry; `null` for any distance."
    )


class PluginsSection(_Section):
    """Third-party code that may run."""

    allow: tuple[str, ...] = Field((), description="Names of plugins that may be loaded.")


class ObservabilitySection(_Section):
    """Traces, logs and metrics."""

    environment: str = Field("dev", description="`dev`, `staging`, `prod`, ...")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Lowest level written.")
    exporter: Literal["none", "console", "otlp"] = Field("none", description="Where spans and metrics go.")
    otlp_endpoint: str = Field("http://localhost:4318", description="OTLP/HTTP endpoint, for `exporter: otlp`.")
    redact: tuple[str, ...] = Field((), description="Words withheld in all signals, such as names of tenants.")
    audit_key: str = Field(
        "file:.companyos/keys/audit.pem", description="URI of the private key that signs audit records."
    )


class RemoteSection(_Section):
    """A decision service, for `authz.engine: opa` or `authzen`."""

    url: str = Field(description="Where it is, `https://…`; `http` only on this machine, unless `plain_http`.")
    token: str | None = Field(None, description="Where the bearer token is: `env:NAME` or `file:PATH`.")
    policy_digest: str | None = Field(
        None, description="`sha256:…` that stands for the policies of a service which does not name them itself."
    )
    decision: str | None = Field(None, description="Path of the decision in an OPA, or of the evaluation in AuthZEN.")
    timeout_seconds: float = Field(2.0, gt=0, description="How long one decision may take, all attempts together.")
    connect_seconds: float = Field(0.5, gt=0, description="How long one connection may take to come about.")
    read_seconds: float = Field(1.5, gt=0, description="How long the service may be silent.")
    attempts: int = Field(3, gt=0, description="How often to try in all, where the service was not reached.")
    max_answer_bytes: int = Field(1024 * 1024, gt=0, description="Largest answer.")
    failures: int = Field(5, gt=0, description="After how many failures in a row the service is left alone.")
    cool_down_seconds: float = Field(10.0, ge=0, description="For how long, before one request tries again.")
    ca_file: Path | None = Field(None, description="Certificate authorities to trust instead of the system's.")
    plain_http: bool = Field(False, description="Whether `http` may leave this machine.")


class BundleSetting(_Section):
    """A signed bundle of policies, in whichever version was promoted last."""

    name: str = Field(min_length=1, description="Which bundle.")
    store: Path = Field(Path("bundles"), description="Directory of built bundles, `*.tar.gz`; it need not be trusted.")
    trust: Path = Field(Path("bundle-trust.yaml"), description="The keys that count, each with its algorithm.")
    scope: str | None = Field(None, description="The scope that the signature must name; default: the key's own.")


class AuthzSection(_Section):
    """Who may do what."""

    engine: str = Field("rego", description="Decision engine, by name.")
    policies: tuple[Path, ...] = Field((), description="Policy directories; empty means the built-in playbook.")
    stage: Literal["dev", "staging", "prod"] = Field(
        "prod", description="Stage of policies laid out by stage, or of the bundle."
    )
    bundle: BundleSetting | None = Field(
        None, description="Decide by the bundle that the ledger says is in force in `stage`, instead of by directories."
    )
    batched_actions: tuple[str, ...] = Field(
        (), description="Reads of low risk, by action: their decisions may be recorded up to 50 ms late."
    )
    origin_retention: str | None = Field(
        "pii", description="Retention class of ip and device in decisions; `null` keeps them with the decision."
    )
    remote: RemoteSection | None = Field(None, description="Where a remote engine is.")
    isolation: Literal["none", "process"] = Field(
        "none", description="Whether an embedded engine decides in processes that are ended when they take too long."
    )
    deadline_seconds: float = Field(1.0, gt=0, le=60, description="How long one decision of such a process may take.")

    @field_validator("bundle")
    @classmethod
    def _bundle_is_alone(cls, bundle: BundleSetting | None, info: ValidationInfo) -> BundleSetting | None:
        if bundle is not None and info.data.get("policies"):
            raise ValueError("either authz.policies or authz.bundle, not both")
        if bundle is not None and info.data.get("engine", "rego") not in {"rego", "cedar"}:
            raise ValueError("no authz.engine beside authz.bundle: which engine decides, the bundle says")
        return bundle

    @field_validator("isolation")
    @classmethod
    def _isolation_is_of_directories(cls, isolation: str, info: ValidationInfo) -> str:
        if isolation == "process" and info.data.get("bundle") is not None:
            raise ValueError("authz.isolation: none beside authz.bundle, whose policies were metered before")
        return isolation


class Budget(_Section):
    """One budget; every budget that applies must pass."""

    name: str = Field(description="Name of the budget.")
    period: Literal["day", "week", "month"] = Field("week", description="The window it is measured in.")
    currency: str = Field("USD", pattern=r"^[A-Z]{3}$", description="ISO 4217 code.")
    target: Decimal = Field(gt=0, description="What the period should cost.")
    ceiling: Decimal = Field(gt=0, description="What it may never exceed.")
    tolerance_percent: Decimal = Field(
        Decimal(15), ge=0, description="How far the forecast may pass the target before a plan is demanded."
    )


class FinopsSection(_Section):
    """Money."""

    budgets: tuple[Budget, ...] = Field(
        (Budget(name="all-costs", target=Decimal(300), ceiling=Decimal(500)),), description="Budgets of the gate."
    )
    tags: tuple[str, ...] = Field(
        ("CostCenter", "application", "environment", "feature", "team"),
        description="Tags rolled up when a bill comes in.",
    )
    budget_policy: Path = Field(Path("finops.yaml"), description="The policy of budgets that are reserved from.")
    budget_store: str | None = Field(
        None, description="URL of the store of budgets; default: a SQLite file in the state directory."
    )


class GuardrailsSection(_Section):
    """Controls over the source tree."""

    exclude: tuple[str, ...] = Field((), description="Globs that are not checked, relative to the tree.")
    package_index: str | None = Field(
        None, description="Simple-index URL or local directory for package checks; default: that of pip."
    )


class NotifySection(_Section):
    """Who is told."""

    channels: tuple[str, ...] = Field(("log",), description="Channels by name.")
    options: dict[str, dict[str, Any]] = Field(
        default_factory=dict, description="Settings of channels, by channel name."
    )
    outbox: str = Field("sqlite:///.companyos/notify.db", description="Database in which messages wait, as a URL.")
    at_once: bool = Field(
        True, description="Whether who publishes tries each channel once, or leaves it all to `companyos notify work`."
    )
    attempts: int = Field(20, gt=0, description="After how many failures a message is dead.")
    base_seconds: float = Field(0.1, gt=0, description="Longest first wait; each further one is twice as long.")
    cap_seconds: float = Field(14_400, gt=0, description="Longest wait of all, whatever a receiver asks for.")
    threads: int = Field(8, gt=0, le=128, description="How many messages a worker sends at a time.")
    lease_seconds: float = Field(
        180, ge=130, description="After how long another worker takes over what a dead one held."
    )
    keep_days: float = Field(30, gt=0, description="How long the outbox remembers what was delivered.")


class EvidenceSection(_Section):
    """Evidence packs."""

    key: str = Field("file:.companyos/keys/evidence.pem", description="URI of the private key that signs packs.")


class FlagsSection(_Section):
    """Feature flags."""

    file: Path = Field(Path("feature-flags/flags.yaml"), description="The flag definitions.")


class JwtSetting(_Section):
    """Tokens of callers."""

    issuer: str = Field(min_length=1, description="Value that `iss` must have.")
    audience: str = Field(min_length=1, description="Value that must be in `aud`.")
    algorithms: tuple[str, ...] = Field(
        ("EdDSA", "ES256"), min_length=1, description="Signature algorithms that count; asymmetric ones only."
    )
    jwks: str = Field(description="The issuer's keys: `file:…` or `https://…`; no other place is ever asked.")
    required_scope: str | None = Field(None, description="A word that `scope` must hold.")
    leeway_seconds: float = Field(30, ge=0, le=300, description="How far the clocks may differ.")
    longest_seconds: float | None = Field(
        None, gt=0, description="How long a token may count, from `iat` or `nbf` to `exp`; any time if not set."
    )
    max_age_seconds: float = Field(3600, gt=0, description="How old the issuer's keys may be.")
    refresh_seconds: float = Field(60, gt=0, description="Least time between two readings of the issuer's keys.")


class ServerSection(_Section):
    """The decision point as a server."""

    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8181, ge=0, le=65535, description="Port to listen on; 0 for any that is free.")
    url: str | None = Field(
        None, pattern=r"^https?://[^?#\s]+$", description="Address by which callers reach it; default: host and port."
    )
    tls_certificate: Path | None = Field(None, description="Certificate chain, PEM.")
    tls_key: Path | None = Field(None, description="Its private key, PEM.")
    api_keys: Path | None = Field(None, description="File with the salted hashes of API keys.")
    jwt: JwtSetting | None = Field(None, description="Whose tokens count.")
    subjects: Literal["store", "caller", "both"] | None = Field(
        None,
        description="Whose word counts about a subject: the identity store's (the default where there is one), the"
        " caller's (the default where there is none), or the caller's where the store says nothing.",
    )
    obligations: tuple[str, ...] = Field(
        (), description="Obligations that callers carry out, beside those with a handler here; all others are denied."
    )
    rate_per_second: float = Field(1000, gt=0, description="Decisions that one caller may ask for in a second.")
    rate_burst: int = Field(2000, gt=0, description="The same, at once.")
    body_limit: int = Field(1024 * 1024, gt=0, description="Largest body of a request, in bytes.")
    body_seconds: float = Field(10, gt=0, description="How long head and body of a request may take to arrive.")
    connections: int = Field(1000, gt=0, description="Most connections at a time.")
    threads: int = Field(8, gt=0, description="How many requests are decided and recorded at a time.")
    workers: int = Field(2, gt=0, description="Processes in which policies are evaluated.")
    worker_memory_mib: int = Field(1024, ge=256, description="Address space of each of them.")
    deadline_seconds: float = Field(1, gt=0, description="After how long an evaluation is ended: `policy.timeout`.")
    reload_seconds: float = Field(2, gt=0, description="How often newer policies and API keys are looked for.")


class StateSection(_Section):
    """States of sessions."""

    url: str = Field("sqlite:///.companyos/state.db", description="Database of the states, as a URL.")
    cache: str = Field("memory:", description="Cache before it: `memory:`, or the URL of a Redis or Valkey.")
    ttl_seconds: float = Field(3600, gt=0, description="How long a state stays in the cache.")
    lease_seconds: float = Field(2, gt=0, description="How old a cached read may be.")
    payload_limit: int = Field(1024 * 1024, gt=0, description="Largest payload, in canonical bytes.")


class IdentitySection(_Section):
    """Who is who."""

    url: str = Field("sqlite:///.companyos/identity.db", description="Database of subjects and roles, as a URL.")


class TrustSection(_Section):
    """Whose signatures count."""

    policy: Path | None = Field(None, description="Trust policy file (keys, identities, roles).")


class Settings(_Section):
    """The whole of `companyos.yaml`."""

    company: CompanySection = Field(default_factory=CompanySection)
    ledger: LedgerSection = Field(default_factory=LedgerSection)
    plugins: PluginsSection = Field(default_factory=PluginsSection)
    observability: ObservabilitySection = Field(default_factory=ObservabilitySection)
    authz: AuthzSection = Field(default_factory=AuthzSection)
    finops: FinopsSection = Field(default_factory=FinopsSection)
    guardrails: GuardrailsSection = Field(default_factory=GuardrailsSection)
    notify: NotifySection = Field(default_factory=NotifySection)
    evidence: EvidenceSection = Field(default_factory=EvidenceSection)
    flags: FlagsSection = Field(default_factory=FlagsSection)
    identity: IdentitySection = Field(default_factory=IdentitySection)
    server: ServerSection = Field(default_factory=ServerSection)
    state: StateSection = Field(default_factory=StateSection)
    trust: TrustSection = Field(default_factory=TrustSection)


def find(start: Path) -> Path | None:
    """The `companyos.yaml` in `start` or the nearest directory above it, if any."""
    for directory in (start.resolve(), *start.resolve().parents):
        candidate = directory / FILE_NAME
        if candidate.is_file():
            return candidate
    return None


def load(path: Path | None, environ: Mapping[str, str] = os.environ) -> Settings:
    """The settings in `path` (or only defaults), with the environment's overrides.

    Raises:
        ConfigError: not readable, not YAML, an unknown key (the nearest known one is suggested), a wrong value.
    """
    values = {} if path is None else _read(path)
    for key, text in environ.items():
        if key.startswith(ENVIRONMENT_PREFIX):
            _override(values, key, text)
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        raise _explain(error, path) from error


def json_schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of `companyos.yaml`, generated from the types."""
    schema = Settings.model_json_schema(mode="validation")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema"} | schema | {"title": FILE_NAME}


def parse_yaml(text: str, name: str) -> Any:
    """The YAML value in `text`, loaded safely.

    Raises:
        ConfigError: it is not YAML, has a key twice in one mapping, an anchor or alias, nesting without measure, or a
            value that does not exist, such as 30 February; the message names the line.
    """
    import yaml

    from companyos._yaml import NotAllowedError, StrictLoader

    try:
        return yaml.load(text, StrictLoader)  # noqa: S506 - it is a SafeLoader
    except NotAllowedError as error:
        raise ConfigError(f"{name} holds YAML that is not read here", got=_place(error), hint=_MEND) from error
    except yaml.MarkedYAMLError as error:
        raise ConfigError(f"{name} is not YAML", got=_place(error), hint=_MEND) from error
    except (yaml.YAMLError, RecursionError) as error:
        raise ConfigError(f"{name} is not YAML", got=error, hint=_MEND) from error


def _place(error: MarkedYAMLError) -> str:
    mark = error.problem_mark or error.context_mark
    problem = ", ".join(part for part in (error.context, error.problem) if part)
    return f"line {mark.line + 1}, column {mark.column + 1}: {problem}" if mark else problem


def _read(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read {path}", got=error, expected="a readable UTF-8 file") from error
    values = parse_yaml(text, str(path)) or {}
    if not isinstance(values, dict):
        raise ConfigError(f"{path} is not a mapping", got=type(values).__name__, expected="sections by name")
    return values


def _override(values: dict[str, Any], key: str, text: str) -> None:
    if not key.isprintable():
        raise ConfigError(
            "the name of an environment variable is not text", got=key, expected=f"{ENVIRONMENT_PREFIX}SECTION__KEY"
        )
    *sections, last = key.removeprefix(ENVIRONMENT_PREFIX).lower().split("__")
    target = values
    for section in sections:
        inner = target.setdefault(section, {})
        if not isinstance(inner, dict):
            raise ConfigError(f"{key} reaches into a value", got=section, expected="a section")
        target = inner
    target[last] = parse_yaml(text, key)


def _explain(error: ValidationError, path: Path | None) -> ConfigError:
    problems = error.errors(include_url=False, include_context=False)
    # A misspelt key is also a missing one: name the misspelling first.
    first = min(problems, key=lambda problem: problem["type"] != "extra_forbidden")
    where = ".".join(str(part) for part in first["loc"])
    origin = str(path) if path else "the configuration"
    if first["type"] == "extra_forbidden":
        known = _known_keys(first["loc"])
        near = difflib.get_close_matches(str(first["loc"][-1]), known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known keys: {', '.join(known)}"
        return ConfigError(f"unknown key {where} in {origin}", got=first["loc"][-1], hint=hint)
    return ConfigError(
        f"{where} in {origin} is not valid",
        got=repr(first["input"]),
        expected=first["msg"],
        hint="see `companyos config schema`",
    )


def _known_keys(loc: tuple[int | str, ...]) -> list[str]:
    model: Any = Settings
    for part in loc[:-1]:
        if isinstance(part, int):
            model = model.__args__[0] if hasattr(model, "__args__") else model
        else:
            model = model.model_fields[part].annotation
    if hasattr(model, "__args__"):
        model = model.__args__[0]
    return sorted(getattr(model, "model_fields", {}))
