"""From a company's settings to a server that runs, and ends without dropping a request."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import signal
import socket
import threading
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from companyos._extras import require
from companyos.plugins import allowed_names
from companyos.server.apikeys import load_keys
from companyos.server.app import Limits, build_app
from companyos.server.authenticate import Authenticator
from companyos.server.interface import KeysUnavailableError, ServerConfigError
from companyos.server.jwks import IssuerKeys
from companyos.server.pdp import CarriedOutByCaller, Pdp
from companyos.server.policies import ConfiguredPolicies
from companyos.server.promoted import PromotedPolicies
from companyos.server.protocol import bounded_protocol
from companyos.server.reload import Reloader
from companyos.server.subjects import source_for
from companyos.server.tokens import TokenVerifier

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

    from companyos.company import Company
    from companyos.config import ServerSection, Settings
    from companyos.server.policies import PolicySource

__all__ = ("KeyFile", "authenticator_of", "serve")

_GRACE_SECONDS = 30
_DEADLINES_PER_TIMEOUT = 2
"""How many deadlines' worth of its rate a caller pays for an evaluation that had to be ended; at least half a burst."""
_log = logging.getLogger("companyos.server")


class KeyFile:
    """Who may call, by settings; the file of API keys is read again when it changes."""

    def __init__(self, section: ServerSection, root: Path) -> None:
        self._path = None if section.api_keys is None else root / section.api_keys
        self._seen = self._state()
        self.authenticator = authenticator_of(section, root)
        """Who may call at present."""

    def look(self) -> None:
        """Read the file of keys again if it changed; one that cannot be read changes nothing."""
        state = self._state()
        if state == self._seen or self._path is None:
            return
        self._seen = state
        try:
            keys = load_keys(self._path)
        except ServerConfigError:
            _log.exception("the file of API keys cannot be read; the old keys count")
            return
        self.authenticator = Authenticator(keys, self.authenticator.tokens)

    def _state(self) -> tuple[int, ...] | None:
        try:
            found = self._path.stat() if self._path else None
        except OSError:
            return None
        return None if found is None else (found.st_mtime_ns, found.st_size, found.st_ino)


def authenticator_of(section: ServerSection, root: Path) -> Authenticator:
    """What the settings say of who may call.

    Raises:
        ServerConfigError: the file of API keys cannot be read, or the settings for tokens do not hold.
    """
    keys = None if section.api_keys is None else load_keys(root / section.api_keys)
    jwt = section.jwt
    if jwt is None:
        return Authenticator(keys)
    issuer_keys = IssuerKeys(
        jwt.jwks, root=root, max_age_seconds=jwt.max_age_seconds, refresh_seconds=jwt.refresh_seconds
    )
    tokens = TokenVerifier(
        issuer_keys,
        issuer=jwt.issuer,
        audience=jwt.audience,
        algorithms=jwt.algorithms,
        leeway_seconds=jwt.leeway_seconds,
        required_scope=jwt.required_scope,
        longest_seconds=jwt.longest_seconds,
    )
    return Authenticator(keys, tokens)


def serve(
    company: Company,
    *,
    host: str | None = None,
    port: int | None = None,
    insecure_no_auth: bool = False,
    listening: Callable[[str], None] | None = None,
) -> None:
    """Serve the decision point until a signal ends it: SIGTERM and SIGINT drain it, SIGHUP reads policies again.

    `host` and `port` (0 for any) override the settings; `listening` is told the address once requests are answered.

    Raises:
        ServerConfigError: nobody would have to show who they are, or the address would be open without TLS.
        UserError: there are no policies to decide by.
    """
    section = company.settings.server
    host = section.host if host is None else host
    who = KeyFile(section, company.root)
    check_exposure(section, host, is_open=who.authenticator.is_open, insecure_no_auth=insecure_no_auth)
    uvicorn = require("uvicorn", extra="server")
    _read_issuer_keys(who.authenticator)
    with _policies(company) as policies, _listen(host, section.port if port is None else port) as listener:
        url = section.url or _url(section, host, listener.getsockname()[1])
        carried = [CarriedOutByCaller(name) for name in section.obligations]
        make = partial(company.authorizer_for, handlers=carried, subject_source=source_for(company))
        reloader = Reloader(policies, make, company.ledger, also=who.look)
        pdp = Pdp(reloader.first(), threads=section.threads)
        try:
            app = build_app(
                pdp,
                lambda: who.authenticator,
                url=url.rstrip("/"),
                status=reloader.status,
                limits=_limits(company.settings),
                lifespan=_lifespan(pdp, reloader, section.reload_seconds, lambda: (listening or _ignore)(url)),
            )
            with _surviving_signals():
                uvicorn.Server(_config(uvicorn, app, section, company.root)).run(sockets=[listener])
        finally:
            reloader.close()
            pdp.close()


def _read_issuer_keys(authenticator: Authenticator) -> None:
    """Have it in the log at start, not at the first token, that the issuer's keys cannot be read; they may come yet."""
    if authenticator.tokens is not None:
        with suppress(KeysUnavailableError):
            authenticator.tokens.keys.refresh()


def check_exposure(section: ServerSection, host: str, *, is_open: bool, insecure_no_auth: bool) -> None:
    """Refuse to serve where anyone could ask, or listen in.

    Raises:
        ServerConfigError: what would be open.
    """
    is_local = _is_loopback(host)
    if is_open and not (insecure_no_auth and is_local):
        raise ServerConfigError(
            "nobody would have to show who they are",
            got=f"neither server.api_keys nor server.jwt, on {host}",
            hint="companyos serve new-key NAME, or on the loopback address alone --insecure-no-auth",
        )
    has_tls = section.tls_certificate is not None and section.tls_key is not None
    if (section.tls_certificate is None) != (section.tls_key is None):
        raise ServerConfigError("TLS needs both server.tls_certificate and server.tls_key")
    if section.url is not None and not section.url.startswith("https://") and not is_local:
        raise ServerConfigError("callers reach the server without TLS", got=section.url, expected="https://")
    if not is_local and not has_tls and section.url is None:
        raise ServerConfigError(
            f"{host} can be reached from elsewhere, and there is no TLS",
            hint="set server.tls_certificate and server.tls_key, or server.url to the https address of the proxy",
        )


@contextmanager
def _policies(company: Company) -> Iterator[PolicySource]:
    section, place = company.settings.server, company.bundle_place
    pool: dict[str, Any] = {
        "workers": section.workers,
        "deadline_seconds": section.deadline_seconds,
        "memory_bytes": section.worker_memory_mib * 1024 * 1024,
    }
    if place is None:
        allow = allowed_names(company.settings.plugins.allow)
        yield ConfiguredPolicies(company.settings.authz, company.root, allow=allow, **pool)
        return
    with PromotedPolicies(place, company.ledger, **pool) as promoted:
        yield promoted


def _limits(settings: Settings) -> Limits:
    section = settings.server
    of_rate = _DEADLINES_PER_TIMEOUT * section.rate_per_second * section.deadline_seconds
    return Limits(
        body_bytes=section.body_limit,
        body_seconds=section.body_seconds,
        rate_per_second=section.rate_per_second,
        burst=section.rate_burst,
        # Where another server decides, that it is late is not the caller's doing.
        timeout_cost=0 if settings.authz.remote is not None else max(of_rate, section.rate_burst / 2),
    )


def _config(uvicorn: Any, app: Any, section: ServerSection, root: Path) -> Any:
    tls = {"ssl_certfile": section.tls_certificate, "ssl_keyfile": section.tls_key}
    return uvicorn.Config(
        app,
        http=bounded_protocol(section.body_seconds),
        ws="none",
        loop="auto",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=section.connections,
        timeout_graceful_shutdown=_GRACE_SECONDS,
        **{name: str(root / path) for name, path in tls.items() if path is not None},
    )


def _lifespan(pdp: Pdp, reloader: Reloader, seconds: float, started: Callable[[], None]) -> Any:
    @asynccontextmanager
    async def lifespan(_: Any) -> AsyncIterator[None]:
        loop = asyncio.get_running_loop()
        with suppress(ValueError, RuntimeError):  # not in the main thread
            loop.add_signal_handler(signal.SIGHUP, reloader.ask)
        looking = asyncio.create_task(reloader.run(pdp, seconds))
        started()
        try:
            yield
        finally:
            looking.cancel()
            with suppress(asyncio.CancelledError):
                await looking

    return lifespan


@contextmanager
def _surviving_signals() -> Iterator[None]:
    """Let nothing end the process at the signal that uvicorn raises again after it drained: all is to be closed."""
    ends = (signal.SIGTERM, signal.SIGINT)
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = [signal.signal(number, lambda *_: None) for number in ends]
    try:
        yield
    finally:
        for number, handler in zip(ends, before, strict=True):
            signal.signal(number, handler)


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=2048)
    except (OSError, OverflowError) as error:
        raise ServerConfigError(f"cannot listen on {host}:{port}", got=error) from error


def _url(section: ServerSection, host: str, port: int) -> str:
    scheme = "http" if section.tls_certificate is None else "https"
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _ignore(_: str) -> None:
    """Nobody wants to know."""
