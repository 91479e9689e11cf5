"""Who calls: from the headers of a request to a `Caller`, by API key or by token."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from companyos.server.apikeys import PREFIX
from companyos.server.interface import AuthenticationError, Caller, HttpRefusedError, KeysUnavailableError
from companyos.server.tokens import UnknownKeyError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from concurrent.futures import Executor

    from companyos.server.apikeys import ApiKeys
    from companyos.server.tokens import TokenVerifier

__all__ = ("ANYONE", "Authenticator", "credential")

ANYONE = Caller("anyone")
"""Who calls where no authentication was asked for."""
SCOPE = "pdp.jwt.scope"


class Authenticator:
    """Tells who calls, by the kinds of credential that are configured."""

    def __init__(self, keys: ApiKeys | None = None, tokens: TokenVerifier | None = None) -> None:
        self.keys = keys
        self.tokens = tokens

    @property
    def is_open(self) -> bool:
        """Whether nothing is configured, so that anyone may call."""
        return self.keys is None and self.tokens is None

    def authenticate(self, headers: Iterable[tuple[bytes, bytes]]) -> Caller:
        """The caller; the issuer's keys are read again, and waited for, if the token needs it.

        Raises:
            AuthenticationError: no credential, more than one, or one that does not count.
            KeysUnavailableError: the issuer's keys could not be had.
        """
        if self.is_open:
            return ANYONE
        offered = credential(headers)
        try:
            return self._known(offered)
        except UnknownKeyError:
            if self.tokens is None or not _is_worth_refreshing(self.tokens):
                raise
            self.tokens.keys.refresh()
            return self._known(offered)

    async def caller(self, headers: Iterable[tuple[bytes, bytes]], executor: Executor) -> Caller:
        """The same without ever holding up the event loop.

        Raises:
            HttpRefusedError: 401 for an `AuthenticationError`, 403 for a missing scope, 503 if keys cannot be had.
        """
        if self.is_open:
            return ANYONE
        try:
            offered = credential(headers)
            try:
                return self._known(offered)
            except UnknownKeyError:
                if self.tokens is None or not _is_worth_refreshing(self.tokens):
                    raise
                await asyncio.get_running_loop().run_in_executor(executor, self.tokens.keys.refresh)
                return self._known(offered)
        except AuthenticationError as error:
            status, challenge = _challenge(error)
            raise HttpRefusedError(status, error.what, headers={"www-authenticate": challenge}) from error
        except KeysUnavailableError as error:
            raise HttpRefusedError(503, error.what, headers={"retry-after": "5"}) from error

    def _known(self, offered: str) -> Caller:
        if offered.startswith(PREFIX):
            if self.keys is None:
                raise AuthenticationError("pdp.key.unknown", "the API key is not known")
            return self.keys.authenticate(offered)
        if self.tokens is None:
            raise AuthenticationError("pdp.auth.missing", "an API key is needed")
        caller = self.tokens.verify(offered)
        scope = self.tokens.required_scope
        if scope is not None and scope not in caller.scopes:
            raise AuthenticationError(SCOPE, f"the token lacks the scope {scope}")
        return caller


def _is_worth_refreshing(tokens: TokenVerifier) -> bool:
    """An unknown key is asked for again only so often; without any fresh key the refresh says so by itself."""
    return not tokens.keys.is_fresh() or tokens.keys.may_refresh()


def credential(headers: Iterable[tuple[bytes, bytes]]) -> str:
    """The one API key or token in `Authorization: Bearer` or `X-API-Key`.

    Raises:
        AuthenticationError: there is none, or more than one.
    """
    found = [(name, value) for name, value in headers if name in {b"authorization", b"x-api-key"}]
    if not found:
        raise AuthenticationError("pdp.auth.missing", "who calls? send Authorization: Bearer, or X-API-Key")
    if len(found) > 1:
        raise AuthenticationError("pdp.auth.ambiguous", "more than one credential")
    name, value = found[0]
    text = value.decode("latin-1").strip()
    if name == b"x-api-key":
        if not text.startswith(PREFIX):
            raise AuthenticationError("pdp.key.unknown", "the API key is not known")
        return text
    scheme, _, rest = text.partition(" ")
    if scheme.lower() != "bearer" or not rest.strip():
        raise AuthenticationError("pdp.auth.missing", "the scheme of Authorization is Bearer")
    return rest.strip()


def _challenge(error: AuthenticationError) -> tuple[int, str]:
    """Status and `WWW-Authenticate` of RFC 6750: with an error only where a credential was offered."""
    if error.rule == SCOPE:
        return 403, 'Bearer error="insufficient_scope"'
    return 401, "Bearer" if error.rule == "pdp.auth.missing" else 'Bearer error="invalid_token"'
