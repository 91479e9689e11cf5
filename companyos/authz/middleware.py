"""`AccessMiddleware`: in front of an ASGI application, nothing is called that was not decided about.

Pure ASGI 3: it needs no web framework and works under any.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from companyos.authz.duty import run, run_async
from companyos.authz.interface import (
    AccessDeniedError,
    AccessUndeterminedError,
    ObligationError,
    Phase,
    StepUpRequiredError,
)
from companyos.authz.problem import Refusal, step_up_challenge
from companyos.authz.reply import MAX_BODY_BYTES, Reply
from companyos.authz.routes import WEBSOCKET, Route, RouteTable, path_of, require_plain_method
from companyos.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from companyos.authz.authorizer import Authorizer
    from companyos.authz.duty import Duty
    from companyos.decision import Decision

__all__ = ("STATE", "AccessMiddleware", "Caller", "Session")

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

STATE = "companyos.authz"
"""Key of the ASGI scope under which the application finds the `Session` of its request."""
_POLICY_VIOLATION = 1008
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Caller:
    """Who makes a call, as your authentication found out."""

    subject: Mapping[str, Any] | str
    """The subject of the decision: `id`, `type`, `attributes`; or its id, where the authorizer looks subjects up."""
    environment: Mapping[str, Any] = field(default_factory=dict)
    """The environment of the decision: `ip`, `auth_strength`, `approval_ticket`, ..."""
    context: Mapping[str, Any] = field(default_factory=dict)
    """What handlers of obligations may look at (`acr`, `amr`), besides `auth_strength` and `approval_ticket`."""


Authenticate = Callable[[Scope], Any]
"""Finds out who makes a call: a `Caller`, a subject, or None for nobody; plain or asynchronous."""


class AccessMiddleware:
    """Decides about every call before the application sees it, and carries out what the decision demands.

    Only declared calls pass: `routes` name the action and the resource of each, `public` the paths that anybody may
    read. All others are refused, websockets too; `lifespan` passes. A call that is denied is answered with 403, one
    that could not be decided about with 503, one without a subject with 401, and one that needs a stronger
    authentication with 401 and the challenge of RFC 9470, each as a problem detail (RFC 9457).

    Obligations of the phase *before* are carried out before the application is called. Those on the result work on JSON
    and JSON lines; any other body is refused under such an obligation. Decisions, handlers and the ledger work in
    threads, never on the event loop.

    Who calls is what `authenticate` says, and nothing else: no header is believed here.

    Raises:
        ConfigError: two routes fit the same path, or the challenge is not a header's value.
    """

    def __init__(
        self,
        app: App,
        authorizer: Authorizer,
        *,
        authenticate: Authenticate,
        routes: Iterable[Route] = (),
        public: Iterable[str] = (),
        challenge: str = "Bearer",
        max_body_bytes: int = MAX_BODY_BYTES,
    ) -> None:
        """Stand in front of `app`.

        `challenge` is the `WWW-Authenticate` of a call without a subject. `max_body_bytes` is how long a JSON response
        may be that has to be masked; JSON lines may be of any length.
        """
        if not (challenge.isascii() and challenge.isprintable() and challenge.strip()):
            raise ConfigError("the challenge is not a header's value", got=repr(challenge))
        self._app = app
        self._authorizer = authorizer
        self._authenticate = authenticate
        self._table = RouteTable([*routes, *(Route("GET", path, None, is_public=True) for path in public)])
        self._challenge = challenge
        self._max_body_bytes = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        serve = {"http": self._http, "websocket": self._websocket, "lifespan": self._app}.get(scope["type"])
        if serve is None:
            raise ConfigError("nothing is known about this kind of connection", got=scope["type"])
        await serve(scope, receive, send)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        session = Session(self._authorizer, self._authenticate, self._challenge, scope)
        try:
            route = await self._admit(session, scope, scope["method"])
        except Refusal as refusal:
            await refusal.send(send)
            return
        if route.is_public:
            await self._app(scope, receive, send)
            return
        reply = Reply(send, session, decided_within=route.action is None, max_body_bytes=self._max_body_bytes)
        # What sends a body by another way than messages would send it past the obligations.
        inner = {**scope, "extensions": {}, STATE: session}
        await _call(session, lambda: self._app(inner, receive, reply))

    async def _websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        session = Session(self._authorizer, self._authenticate, self._challenge, scope)
        try:
            route = await self._admit(session, scope, WEBSOCKET)
            if any(duty.obligations(Phase.AFTER) for duty in session.duties):
                await _fail(session, ObligationError("messages of a websocket cannot be masked"))
                raise Refusal(403, "obligation.failed")  # noqa: TRY301 - one place answers
        except Refusal:
            await receive()
            await send({"type": "websocket.close", "code": _POLICY_VIOLATION, "reason": ""})
            return
        if route.is_public:
            await self._app(scope, receive, send)
            return
        await _call(session, lambda: self._app({**scope, STATE: session}, receive, send))

    async def _admit(self, session: Session, scope: Scope, method: str) -> Route:
        """Let a call pass that is public, that is to be decided about within, or that is allowed."""
        require_plain_method(scope)
        route, parameters = self._table.find(method, path_of(scope))
        if route.action is not None:
            given = route.resource or {"type": "endpoint", "id": route.path}
            await session.decide(route.action, await resource_of(given, scope, parameters))
        return route


class Session:
    """What has been decided about one connection; the application finds it in the scope (`require` does)."""

    def __init__(self, authorizer: Authorizer, authenticate: Authenticate, challenge: str, scope: Scope) -> None:
        self._authorizer = authorizer
        self._authenticate = authenticate
        self._challenge = challenge
        self._scope = scope
        self._caller: Caller | None = None
        self.duties: list[Duty] = []
        """What is still to be carried out, one for each decision that allowed."""
        self.refusal: Refusal | None = None
        """What the client is told instead of what the application answers."""

    async def decide(self, action: str, resource: Mapping[str, Any]) -> Decision:
        """Decide, and carry out what comes before the call.

        Raises:
            Refusal: the call may not be made.
        """
        caller = await self._who()
        subject: Any = caller.subject  # an id is refused as malformed by an authorizer that looks nobody up
        decision = await self._authorizer.aauthorize(subject, action, resource, caller.environment)
        stated = {key: caller.environment.get(key) for key in ("auth_strength", "approval_ticket")}
        duty = self._authorizer.duty(decision, context={**stated, **caller.context})
        try:
            await run_async(duty.begin())
        except AccessUndeterminedError:
            raise Refusal(503, decision.reason, audit_id=decision.audit_id) from None
        except AccessDeniedError:
            raise self._denied(decision, duty.failures) from None
        except StepUpRequiredError as error:
            raise self._step_up(decision, error.acr_values) from None
        except ObligationError as error:
            _log.info("an obligation could not be carried out: %s", error.what)
            raise Refusal(403, "obligation.failed", audit_id=decision.audit_id) from None
        self.duties.append(duty)
        return decision

    def _denied(self, decision: Decision, failures: Iterable[ObligationError]) -> Refusal:
        """A denial until the subject steps up names the class that it takes, as the profile has it; others stay."""
        lacking = [error for error in failures if isinstance(error, StepUpRequiredError) and error.acr_values]
        if lacking:
            return self._step_up(decision, [value for error in lacking for value in error.acr_values])
        return Refusal(403, decision.reason, audit_id=decision.audit_id)

    def _step_up(self, decision: Decision, acr_values: Iterable[str]) -> Refusal:
        header = step_up_challenge(self._challenge.split()[0], acr_values)
        return Refusal(401, "authentication.insufficient", audit_id=decision.audit_id, headers=[header])

    async def _who(self) -> Caller:
        if self._caller is None:
            try:
                found = await call_either(self._authenticate, self._scope)
                caller = _caller(found)
            except Exception:  # noqa: BLE001 - whatever it raises, nobody knows who calls
                _log.exception("a caller could not be authenticated")
                raise Refusal(503, "authentication.unavailable") from None
            if caller is None:
                header = (b"www-authenticate", self._challenge.encode("ascii"))
                raise Refusal(401, "authentication.required", headers=[header])
            self._caller = caller
        return self._caller


def _caller(found: Any) -> Caller | None:
    if found is None or isinstance(found, Caller):
        return found
    return Caller(found if isinstance(found, str) else dict(found))


async def resource_of(given: Any, *arguments: Any) -> Mapping[str, Any]:
    """The resource that a route or a dependency names, or gives by a function; for all its failures a refusal.

    Raises:
        Refusal: there is none (403), or it could not be found out (503).
    """
    if not callable(given):
        return dict(given)
    try:
        found = await call_either(given, *arguments)
        resource = None if found is None else dict(found)
    except Exception:  # noqa: BLE001 - whatever it raises, nobody knows what is called for
        _log.exception("a resource could not be found out")
        raise Refusal(503, "resource.unavailable") from None
    if resource is None:
        raise Refusal(403, "resource.unknown")
    return resource


async def call_either(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function that may be plain, and may then block, or asynchronous."""
    if inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__):
        return await function(*arguments)
    found = await asyncio.to_thread(function, *arguments)
    return await found if inspect.isawaitable(found) else found


async def _call(session: Session, call: Callable[[], Awaitable[None]]) -> None:
    try:
        await call()
    except Exception as error:
        await _fail(session, error)
        raise
    except BaseException as error:
        for duty in session.duties:
            run(duty.fail(error))  # cancelled: nothing may be awaited any more
        raise


async def _fail(session: Session, error: Exception) -> None:
    for duty in session.duties:
        await run_async(duty.fail(error))
