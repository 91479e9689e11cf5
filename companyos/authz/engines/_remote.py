"""One way to ask a decision service over HTTP: bounded in time and size, tried again only where that is safe.

A decision query reads and changes nothing, so that it may be asked again when the connection was refused or broke, or
when a gateway says that nobody was there (502, 503, 504). Redirects are not followed, proxies of the environment are
not used, and TLS is verified.
"""

from __future__ import annotations

import json
import os
import random
import ssl
import time
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import urlsplit

from companyos._extras import require
from companyos._json import strict_loads
from companyos.authz.engines._breaker import Breaker
from companyos.authz.engines._deadline import Deadline, Network
from companyos.authz.interface import EngineError, EngineTimeoutError, EngineUnreachableError
from companyos.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

__all__ = ("Answer", "RemoteClient", "RemoteSettings", "strict_json")

AWAY = frozenset({502, 503, 504})
"""Statuses by which a gateway says that nobody answered behind it."""
_encode = json.JSONEncoder(ensure_ascii=False, check_circular=False, allow_nan=False, separators=(",", ":")).encode


@dataclass(frozen=True, slots=True)
class RemoteSettings:
    """Where a decision service is, and how patient its caller is."""

    url: str
    """`https://host[:port][/path]`; `http` only to this machine, unless `plain_http`."""
    timeout_seconds: float = 2.0
    """How long one decision may take in all, every attempt included."""
    connect_seconds: float = 0.5
    """How long one connection may take to come about."""
    read_seconds: float = 1.5
    """How long the service may be silent."""
    token: str | None = None
    """Where the bearer token is: `env:NAME` or `file:PATH`; read anew for each request, so that it can be rotated."""
    attempts: int = 3
    """How often to try in all."""
    backoff_seconds: float = 0.05
    """Longest pause before the second attempt; it doubles with each further one, and each is a random share of it."""
    max_answer_bytes: int = 1024 * 1024
    """Largest answer."""
    failures: int = 5
    """After how many failures in a row the service is left alone."""
    cool_down_seconds: float = 10.0
    """For how long, before one request tries again."""
    ca_file: str | None = None
    """File with the certificate authorities to trust instead of the system's."""
    plain_http: bool = False
    """Whether `http` may leave this machine; whoever sits between can then answer in the service's place."""

    def __post_init__(self) -> None:
        _check_url(self.url, plain_http=self.plain_http)
        if self.token is not None:
            _split_token(self.token)
        for name in ("timeout_seconds", "connect_seconds", "read_seconds", "attempts", "max_answer_bytes", "failures"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"{name} of a remote engine is not positive", got=getattr(self, name))
        if not self.cool_down_seconds >= 0:
            raise ConfigError("cool_down_seconds of a remote engine is negative", got=self.cool_down_seconds)


@dataclass(frozen=True, slots=True)
class Answer:
    """What the service answered, its body read as strict JSON."""

    value: Any
    """The body; no key twice, no NaN."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Header fields, names in lower case."""


class RemoteClient:
    """Asks one service, from any thread; a forked process gets connections of its own.

    Each method raises `EngineUnreachableError` (nobody answered, or the breaker is open), `EngineTimeoutError` (not in
    time) or `EngineError` (an answer that is none: another status than 200, too large, not JSON).
    """

    def __init__(self, settings: RemoteSettings, *, what: str, rest: Callable[[float], None] = time.sleep) -> None:
        """Take the settings; nothing is connected yet. `what` names it in messages, `rest` waits between attempts."""
        self._settings = settings
        self._what = what
        self._rest = rest
        self._deadline = Deadline()
        self._base = settings.url.rstrip("/")
        self._of_process: dict[int, tuple[Any, Breaker]] = {}

    def post(self, path: str, body: Any, *, headers: Mapping[str, str] | None = None) -> Answer:
        """The answer to a JSON value sent to `path`."""
        try:
            sent = _encode(body).encode()
        except (TypeError, ValueError, RecursionError) as error:
            raise EngineError(f"what {self._what} is to be asked is not JSON", got=error) from error
        return self._ask("POST", path, sent, headers or {})

    def get(self, path: str, *, headers: Mapping[str, str] | None = None) -> Answer:
        """The answer to a plain GET of `path`."""
        return self._ask("GET", path, None, headers or {})

    @property
    def breaker(self) -> Breaker:
        """The breaker of this process."""
        return self._parts()[1]

    def close(self) -> None:
        """Close the connections; the client can still be used and opens new ones."""
        found = self._of_process.pop(os.getpid(), None)
        if found is not None:
            found[0].close()

    def _parts(self) -> tuple[Any, Breaker]:
        """Connections and breaker of this process; what a fork inherited belongs to its parent."""
        found = self._of_process.get(os.getpid())
        if found is None:
            core = require("httpcore", extra="authz-remote")
            limits = {"max_connections": 64, "max_keepalive_connections": 16, "keepalive_expiry": 15.0}
            pool = core.ConnectionPool(
                ssl_context=self._trust(), network_backend=Network(self._deadline), retries=0, **limits
            )
            wait = self._settings.cool_down_seconds
            made = (pool, Breaker(failures=self._settings.failures, cool_down_seconds=wait))
            # Of two threads that come here at once one wins, without a lock that a fork could inherit locked.
            found = self._of_process.setdefault(os.getpid(), made)
        return found

    def _trust(self) -> ssl.SSLContext:
        try:
            return ssl.create_default_context(cafile=self._settings.ca_file)
        except (OSError, ssl.SSLError) as error:
            raise ConfigError("the certificate authorities cannot be read", got=self._settings.ca_file) from error

    def _ask(self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]) -> Answer:
        pool, breaker = self._parts()
        sent = {"accept": "application/json", "accept-encoding": "identity", **headers, **self._credentials()}
        if body is not None:
            sent["content-type"] = "application/json"
        ticket = breaker.enter()
        if ticket is None:
            raise EngineUnreachableError(
                f"{self._what} is not asked at the moment",
                got=f"{self._settings.failures} failures in a row",
                hint=f"see whether {self._base} answers; it is tried again by itself",
            )
        healthy = False
        try:
            self._deadline.start(self._settings.timeout_seconds)
            answer = self._persist(pool, method, path, list(sent.items()), body)
            healthy = True
        except (EngineUnreachableError, EngineTimeoutError):
            raise
        except EngineError:
            # It answered, if not what was hoped for: an input that a policy chokes on must not shut out all others.
            healthy = True
            raise
        finally:
            breaker.leave(ticket, healthy=healthy)
        return answer

    def _persist(
        self, pool: Any, method: str, path: str, headers: Sequence[tuple[str, str]], body: bytes | None
    ) -> Answer:
        """Try until it works, the attempts are used up, or the time is; full jitter between attempts."""
        for attempt in range(1, self._settings.attempts + 1):
            try:
                return self._exchange(pool, method, path, headers, body)
            except EngineUnreachableError:
                longest = self._settings.backoff_seconds * 2 ** (attempt - 1)
                pause = random.uniform(0, longest)  # noqa: S311 - spreads callers, hides nothing
                if attempt == self._settings.attempts or pause >= self._deadline.left:
                    raise
                self._rest(pause)
        raise AssertionError("there is at least one attempt")

    def _exchange(
        self, pool: Any, method: str, path: str, headers: Sequence[tuple[str, str]], body: bytes | None
    ) -> Answer:
        core = require("httpcore", extra="authz-remote")
        left = self._deadline.left
        waits = {
            "connect": self._settings.connect_seconds,
            "read": self._settings.read_seconds,
            "write": self._settings.read_seconds,
            "pool": max(left, 0.0),
        }
        try:
            with pool.stream(
                method, self._base + path, headers=headers, content=body, extensions={"timeout": waits}
            ) as answer:
                return self._read(answer)
        except core.ConnectTimeout as error:
            raise EngineUnreachableError(f"{self._what} cannot be reached in time", got=self._base) from error
        except core.TimeoutException as error:
            raise EngineTimeoutError(
                f"{self._what} did not answer in time", expected=f"within {self._settings.timeout_seconds} s"
            ) from error
        except (core.NetworkError, core.ProtocolError) as error:
            raise EngineUnreachableError(f"{self._what} cannot be reached", got=f"{self._base}: {error}") from error

    def _read(self, answer: Any) -> Answer:
        status: int = answer.status
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in answer.headers}
        if status != 200:
            self._refuse(status)
        if headers.get("content-encoding", "identity") != "identity":
            raise EngineError(f"{self._what} answered in an encoding that was not asked for")
        return Answer(strict_json(b"".join(self._bounded(answer.iter_stream())), self._what), headers)

    def _bounded(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        size = 0
        for chunk in chunks:
            size += len(chunk)
            if size > self._settings.max_answer_bytes:
                raise EngineError(
                    f"the answer of {self._what} is too large",
                    expected=f"at most {self._settings.max_answer_bytes} bytes",
                )
            yield chunk

    def _refuse(self, status: int) -> NoReturn:
        if status in AWAY:
            raise EngineUnreachableError(f"{self._what} is away", got=f"status {status}")
        hint = {
            401: "see whether the token is valid",
            403: "see whether the token is allowed to ask this",
            404: "see whether the path of the url is right",
        }.get(status, "redirects are not followed: write the final address" if 300 <= status < 400 else None)
        raise EngineError(f"{self._what} gave no decision", got=f"status {status}", expected="status 200", hint=hint)

    def _credentials(self) -> dict[str, str]:
        if self._settings.token is None:
            return {}
        token = _token(self._settings.token)
        if not (token and token.isascii() and token.isprintable() and " " not in token):
            raise EngineError(
                "the token of a remote engine is empty or not one word", got=f"what {self._settings.token} holds"
            )
        return {"authorization": f"Bearer {token}"}


def strict_json(raw: bytes, what: str) -> Any:
    """The JSON value in `raw`; what two readers could understand differently is none.

    Raises:
        EngineError: not JSON, not UTF-8, a key twice in one object, NaN or an infinity, or nested without measure.
    """
    try:
        return strict_loads(raw.decode())
    except ValueError as error:
        raise EngineError(f"{what} answered something that is not JSON", got=error) from error


def _check_url(url: str, *, plain_http: bool) -> None:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise ConfigError("the url of a remote engine is not valid", got=error) from error
    plain = parts.username is None and parts.password is None and not parts.query and not parts.fragment
    if parts.scheme not in {"http", "https"} or not host or port == 0 or not plain or not url.isprintable():
        raise ConfigError(
            "the url of a remote engine is not valid",
            got=f"{parts.scheme}://{host}",
            expected="https://host[:port][/path], without user, query or fragment",
        )
    if parts.scheme == "http" and not plain_http and not _is_here(host):
        raise ConfigError(
            "a decision would travel unprotected",
            got=f"http to {host}",
            hint="write https, or set plain_http: true where the network itself is protected",
        )


def _is_here(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _split_token(reference: str) -> tuple[str, str]:
    scheme, _, place = reference.partition(":")
    if scheme not in {"env", "file"} or not place:
        # What stands there may be the token itself, so that it is not shown.
        raise ConfigError("the token of a remote engine is no reference", expected="env:NAME or file:PATH")
    return scheme, place


def _token(reference: str) -> str:
    scheme, place = _split_token(reference)
    if scheme == "env":
        return os.environ.get(place, "")
    try:
        return Path(place).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise EngineError("the token of a remote engine cannot be read", got=reference) from error
