"""What handlers ask for: the services, and who is calling."""

from __future__ import annotations

from typing import Annotated

from companyos.observability import annotate
from fastapi import Depends, HTTPException, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from ..models.accounts import Caller
from ..services import Services
from ..services.tokens import TokenError

__all__ = ("CallerDep", "ServicesDep")

_bearer = HTTPBearer(auto_error=False, description="The token that POST /login gives.")


def _services(request: Request) -> Services:
    services: Services = request.app.state.services
    return services


ServicesDep = Annotated[Services, Depends(_services)]


def _caller(
    services: ServicesDep,
    credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
) -> Caller:
    if credentials is None:
        raise _unauthorized("log in first: POST /login")
    try:
        session = services.tokens.read(credentials.credentials)
    except TokenError as error:
        raise _unauthorized(str(error)) from error
    account = services.accounts.get(session.account_id)
    if account is None:
        raise _unauthorized("the account is gone")
    annotate(subject_id=account.id)
    return Caller(account, session.auth_strength)


CallerDep = Annotated[Caller, Depends(_caller)]


def _unauthorized(detail: str) -> HTTPException:
    return HTTPException(401, detail, headers={"WWW-Authenticate": "Bearer"})
