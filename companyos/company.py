"""The composition root: reads `companyos.yaml`, loads plugins, and hands each room what it needs, on first use."""

from __future__ import annotations

import threading
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast

from companyos import config
from companyos.errors import ConfigError
from companyos.plugins import Plugins, allowed_names

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from companyos.authz import Authorizer
    from companyos.authz.bundles import BundlePlace
    from companyos.authz.identity import IdentityStore
    from companyos.authz.vouching import SubjectSource
    from companyos.config import AuthzSection, Settings
    from companyos.controls import Control
    from companyos.decision import Decision
    from companyos.finops import Budget, CostStore
    from companyos.finops.budgets import BudgetPolicy, Route
    from companyos.finops.rates import Rates
    from companyos.ledger import Ledger
    from companyos.llm import ModelRouter
    from companyos.llm.audit import CallAudit
    from companyos.llm.prices import ListedPrices
    from companyos.llm.residency import LocalOnly, ResidencyGuard
    from companyos.notify import Notifier
    from companyos.observability.audit import AuditTrail
    from companyos.observability.redaction import Redactor
    from companyos.ports import Channel, DecisionEngine, ObligationHandler
    from companyos.state import StateRepository

__all__ = ("Company",)

_T = TypeVar("_T")


class Company:
    """Every room of one company, opened when it is first asked for.

    Use it as a context manager, or `close` it. Relative paths of the settings start from `root`.
    """

    def __init__(self, settings: Settings, root: Path) -> None:
        self.settings = settings
        self.root = root
        self._opened: dict[str, Any] = {}
        self._lock = threading.RLock()

    @classmethod
    def open(cls, path: Path | str | None = None) -> Company:
        """The company described by `path`: a `companyos.yaml`, or a directory in or above which there is one.

        Without one, the defaults apply and state goes under the directory itself.

        Raises:
            ConfigError: there is no such file or directory, or the file does not validate.
        """
        given = Path.cwd() if path is None else Path(path)
        if not (given.is_file() or given.is_dir()):
            raise ConfigError(f"there is no company at {given}", expected=f"a {config.FILE_NAME} or a directory")
        found = given if given.is_file() else config.find(given)
        return cls(config.load(found), (found.parent if found else given).resolve())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close whatever was opened, last first; what cannot be closed is raised once the others are."""
        with self._lock, ExitStack() as rooms:
            for room in self._opened.values():
                if hasattr(room, "close"):
                    rooms.callback(room.close)
            self._opened.clear()

    @property
    def state_dir(self) -> Path:
        """Where working state lives."""
        return self.root / self.settings.company.state_dir

    @property
    def plugins(self) -> Plugins:
        """The allowed plugins, loaded."""
        return self._once("plugins", lambda: Plugins(allowed_names(self.settings.plugins.allow)))

    @property
    def ledger(self) -> Ledger:
        """The one log."""
        return self._once("ledger", self._open_ledger)

    @property
    def audit(self) -> AuditTrail:
        """Who did what: signed records on the ledger, out of reach of any log level."""
        return self._once("audit", self._open_audit)

    @property
    def engine(self) -> DecisionEngine:
        """The configured decision engine, which records nothing by itself."""
        return self._once("engine", self._open_engine)

    @property
    def authorizer(self) -> Authorizer:
        """Who may do what: the configured engine, with every decision on the ledger."""
        return self._once("authorizer", self._open_authorizer)

    @property
    def identity(self) -> IdentityStore:
        """Who is who: subjects, attributes and roles, every change on the ledger."""
        return self._once("identity", self._open_identity)

    @property
    def keeps_identities(self) -> bool:
        """Whether there is an identity store: the settings name its database, or the default one was made."""
        section = self.settings.identity
        path = self._url(section.url).removeprefix("sqlite:///")
        return "url" in section.model_fields_set or Path(path).exists()

    @property
    def notifier(self) -> Notifier:
        """The configured channels, with the outbox before them and the safety net over what leaves."""
        return self._once("notifier", self._open_notifier)

    @property
    def costs(self) -> CostStore:
        """Ingested costs."""
        return self._once("costs", self._open_costs)

    @property
    def budget(self) -> Budget:
        """The budget to reserve from, by the policy in `finops.yaml`; alerts go to the configured channels."""
        return self._once("budget", self._open_budget)

    @property
    def budget_url(self) -> str:
        """Where the store of the budget is."""
        given = self.settings.finops.budget_store
        return f"sqlite:///{self.state_dir / 'budget.db'}" if given is None else self._url(given)

    @property
    def llm_prices(self) -> ListedPrices:
        """What models cost, by the shipped list and the company's own before it."""
        return self._once("llm_prices", self._open_llm_prices)

    @property
    def llm_rates(self) -> Rates | None:
        """Rates of exchange for prices in other currencies than the routing file's, if the settings name a table."""
        return self._once("llm_rates", self._open_llm_rates)

    @property
    def llm_audit(self) -> CallAudit:
        """The record of calls of language models."""
        return self._once("llm_audit", self._open_llm_audit)

    @property
    def residency(self) -> ResidencyGuard | LocalOnly:
        """Where prompts may go: by the residency file, or without one nowhere but to this machine."""
        return self._once("residency", self._open_residency)

    @property
    def llm(self) -> ModelRouter:
        """Language models, by the routing file, within the budget."""
        return self._once("llm", lambda: self._open_llm(self.budget))

    @property
    def llm_planner(self) -> ModelRouter:
        """The same for decisions alone: what is asked through it, no budget holds."""
        return self._once("llm_planner", lambda: self._open_llm(None))

    @property
    def state(self) -> StateRepository:
        """States of sessions."""
        return self._once("state", self._open_state)

    @property
    def controls(self) -> dict[str, Control]:
        """Every control, by id."""
        return self._once("controls", self.plugins.controls)

    @property
    def has_identity(self) -> bool:
        """Whether there is an identity store: the settings say where, or the file of the default one is there."""
        section = self.settings.identity
        return "url" in section.model_fields_set or self.is_there(section.url)

    @property
    def has_ledger(self) -> bool:
        """Whether there is a ledger already."""
        return self.is_there(self.settings.ledger.url)

    def is_there(self, url: str) -> bool:
        """Whether the database of a URL of the settings is there; of one on a server that is taken for granted."""
        scheme, _, path = self.database_url(url).partition(":///")
        return scheme != "sqlite" or Path(path).exists()

    def authorizer_for(
        self,
        engine: DecisionEngine,
        *,
        handlers: Iterable[ObligationHandler] = (),
        subject_source: SubjectSource | Callable[[], SubjectSource] = "caller",
    ) -> Authorizer:
        """An authorizer of its own for an engine, with the ledger and plugins of the company, and further handlers.

        `subject_source` says whose word counts about subjects that are described, not only named by their id.
        """
        from companyos.authz import Authorizer
        from companyos.authz.subjects import DeferredSubjects
        from companyos.authz.vouching import Vouching

        section = self.settings.authz
        subjects = DeferredSubjects(lambda: self.identity)
        return Authorizer(
            engine,
            self.ledger,
            handlers=(*self.plugins.obligation_handlers().values(), *handlers),
            listeners=(self.plugins.heard("companyos_on_decision", self.plugins.on_decision),),
            validators=(self.plugins.heard("companyos_validate_decision", self.plugins.validate_decision),),
            batched_actions=section.batched_actions,
            retention=section.origin_retention,
            subjects=subjects,
            vouching=Vouching(subjects, subject_source),
        )

    @property
    def bundle_place(self) -> BundlePlace | None:
        """Where the policies come from if the settings name a bundle; None if they name directories."""
        from companyos.authz.bundles import BundlePlace

        section = self.settings.authz
        if section.bundle is None:
            return None
        store, trust = self.root / section.bundle.store, self.root / section.bundle.trust
        return BundlePlace(section.bundle.name, section.stage, store, trust, section.bundle.scope)

    def _once(self, name: str, make: Callable[[], _T]) -> _T:
        with self._lock:
            if name not in self._opened:
                self._opened[name] = make()
            return cast("_T", self._opened[name])

    def _open_ledger(self) -> Ledger:
        from companyos.ledger import Ledger

        section = self.settings.ledger
        tolerance = section.clock_tolerance_seconds
        return Ledger.open(
            self._url(section.url),
            origin=section.origin or f"{self.settings.company.name}.companyos/log",
            key=self.key_uri(section.key),
            keystore=self.root / section.keystore,
            detached_limit=section.detached_limit,
            retention_days=section.retention_days,
            clock_tolerance=None if tolerance is None else timedelta(seconds=tolerance),
            validators=(self.plugins.heard("companyos_validate_entry", self.plugins.validate_entry),),
            listeners=(self.plugins.heard("companyos_on_entry", self.plugins.on_entry),),
        )

    def _open_audit(self) -> AuditTrail:
        from companyos.observability.audit import AuditTrail
        from companyos.signing import PrivateKey

        return AuditTrail(self.ledger, PrivateKey.load_or_create(self.key_uri(self.settings.observability.audit_key)))

    def _open_engine(self) -> DecisionEngine:
        place = self.bundle_place
        return self._configured_engine() if place is None else self._bundle_engine(place)

    def _bundle_engine(self, place: BundlePlace) -> DecisionEngine:
        from companyos.authz.bundles import find_in_force, promotions_of

        return find_in_force(place, promotions_of(self.ledger)).engine()

    def _configured_engine(self) -> DecisionEngine:
        section = self.settings.authz
        settings = section.model_dump() | {"policies": [self.root / path for path in section.policies]}
        if section.remote is not None:
            token, ca_file = section.remote.token, section.remote.ca_file
            settings["remote"] |= {
                "token": None if token is None else self.key_uri(token),
                "ca_file": None if ca_file is None else str(self.root / ca_file),
            }
        if section.isolation == "process":
            return self._in_processes(section)
        return self.plugins.engine(section.engine, settings)

    def _in_processes(self, section: AuthzSection) -> DecisionEngine:
        from companyos.authz.engines.embedded import SUFFIXES, configured_recipe
        from companyos.authz.engines.pool import WorkerEngine

        recipe = configured_recipe(section, self.root)
        if recipe is None:
            raise ConfigError(
                "authz.isolation is process, but authz.engine does not evaluate policies in this process anyway",
                got=section.engine,
                expected=" or ".join(SUFFIXES),
            )
        return WorkerEngine(recipe.factory, recipe.arguments, deadline_seconds=section.deadline_seconds)

    def _open_authorizer(self) -> Authorizer:
        return self.authorizer_for(self.engine)

    def _open_identity(self) -> IdentityStore:
        from companyos.authz.identity import IdentityStore

        return IdentityStore.open(self._url(self.settings.identity.url), self.ledger)

    def _open_notifier(self) -> Notifier:
        from companyos.notify import Notifier, RetryPolicy, open_outbox
        from companyos.observability.scope import current_correlation_id

        section = self.settings.notify
        channels = self._channels()
        unknown = sorted(set(section.options) - set(channels))
        if unknown:
            raise ConfigError(
                f"notify.options names no channel: {', '.join(unknown)}", expected=", ".join(sorted(channels))
            )
        ledger, outbox = self.ledger, open_outbox(self._url(section.outbox), "notify")
        try:
            return Notifier.choose(
                section.channels,
                channels,
                ledger=ledger,
                outbox=outbox,
                net=self._redactor(),
                correlate=current_correlation_id,
                retry=RetryPolicy(section.attempts, section.base_seconds, section.cap_seconds),
                at_once=section.at_once,
            )
        except BaseException:
            outbox.close()
            raise

    def _redactor(self) -> Redactor:
        from companyos.observability.redaction import Redactor

        return Redactor(self.settings.observability.redact)

    def _channels(self) -> dict[str, Channel]:
        return self.plugins.channels(self.settings.notify.model_dump() | {"root": self.root})

    def _open_costs(self) -> CostStore:
        from companyos.finops import open_store

        return open_store(self.state_dir / "costs", ledger=self.ledger, tags=self.settings.finops.tags)

    def _open_budget(self) -> Budget:
        from companyos.finops import Budget
        from companyos.finops.budgets import BudgetPolicy

        policy = BudgetPolicy.load(self.root / self.settings.finops.budget_policy)
        return Budget.open(
            policy, self.budget_url, self.ledger, routes=self._alert_routes(policy), fallback=self.notifier
        )

    def _alert_routes(self, policy: BudgetPolicy) -> list[Route]:
        """Where alerts of budgets go: to the channels of the policy, or without any to those of the settings."""
        from companyos.finops.budgets import Route
        from companyos.notify import Notifier

        if not policy.alerts.channels:
            return [Route("notify", ",".join(self.settings.notify.channels), self.notifier)]
        known, net = self._channels(), self._redactor()
        return [
            # Without an outbox: what fails here is told again by the budget itself, and told of by the fallback.
            Route(one.type, one.destination, Notifier.choose([one.type], known, ledger=self.ledger, net=net))
            if one.type in known
            else Route(one.type, one.destination, None)
            for one in policy.alerts.channels
        ]

    def _open_llm_prices(self) -> ListedPrices:
        from companyos.llm.prices import ListedPrices, PriceTable

        section = self.settings.llm
        own = None if section.prices is None else PriceTable.load(self.root / section.prices)
        return ListedPrices(own, max_age_days=section.price_max_age_days)

    def _open_residency(self, *, quiet: bool = False) -> ResidencyGuard | LocalOnly:
        from companyos.llm.residency import LocalOnly, ResidencyGuard, ResidencyPolicy

        path = self.root / self.settings.llm.residency
        if not path.exists():
            return LocalOnly(path.name)
        policy = ResidencyPolicy.load(path)
        if quiet:
            return ResidencyGuard(policy)
        return ResidencyGuard(policy, ledger=self.ledger, on_violation=self._tell_of_residency)

    def _tell_of_residency(self, decision: Decision) -> None:
        from companyos.ports import Message

        provider = str(decision.facts.get("provider", "a vendor"))
        self.notifier.publish(Message("llm.residency", f"{provider}: {decision.message}", decision.reason))

    def _open_llm_rates(self) -> Rates | None:
        from companyos.finops.rates import Rates

        path = self.settings.llm.rates
        return None if path is None else Rates.load(self.root / path)

    def _open_llm_audit(self) -> CallAudit:
        from companyos.llm.audit import CallAudit

        return CallAudit(self.ledger, redactor=self._redactor(), keep_text=self.settings.llm.keep_text)

    def _open_llm(self, budget: Budget | None) -> ModelRouter:
        from companyos.llm import ModelRouter
        from companyos.llm.output import shape_of
        from companyos.llm.prices import Chained
        from companyos.llm.routing import RoutingPolicy

        section = self.settings.llm
        routing = RoutingPolicy.load(self.root / section.routing)
        return ModelRouter(
            routing,
            budget,
            prices=Chained(self.llm_prices, routing),
            residency=self._open_residency(quiet=True) if budget is None else self.residency,
            audit=None if budget is None else self.llm_audit,
            shapes=shape_of,
            rates=self.llm_rates,
            kinds=self.plugins.llm_providers(),
            feature=self.settings.company.name,
        )

    def _open_state(self) -> StateRepository:
        from companyos.state import StateRepository, open_cache, open_database

        section = self.settings.state
        return StateRepository(
            open_cache(section.cache),
            open_database(self._url(section.url)),
            section.ttl_seconds,
            lease_seconds=section.lease_seconds,
            payload_limit=section.payload_limit,
        )

    def database_url(self, url: str) -> str:
        """A database URL of the settings with its path made absolute."""
        return self._url(url)

    def _url(self, url: str) -> str:
        scheme, separator, rest = url.partition(":///")
        if scheme != "sqlite" or not separator:
            return url
        return f"sqlite:///{self.root / rest}"

    def key_uri(self, uri: str) -> str:
        """A key URI of the settings with its path made absolute."""
        scheme, _, rest = uri.partition(":")
        return f"file:{self.root / rest}" if scheme == "file" else uri
