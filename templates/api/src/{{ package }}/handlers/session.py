"""Logging in, and who one is then."""

from __future__ import annotations

from companyos.observability import get_logger
from fastapi import APIRouter, HTTPException

from ..models.accounts import Login, Profile, Token
from ..services.accounts import LoginRefusedError
from .dependencies import CallerDep, ServicesDep
from .problems import REFUSALS

__all__ = ("router",)

router = APIRouter(tags=["session"])
_log = get_logger(__name__)


@router.post("/login", responses=REFUSALS)
def login(credentials: Login, services: ServicesDep) -> Token:
    """A session token; with a second factor it also allows what needs one."""
    try:
        caller = services.accounts.log_in(credentials.email, credentials.password, credentials.code)
    except LoginRefusedError as error:
        _log.warning("login", action="login", resource="session", outcome="refused")
        detail = "the credentials are not right"
        raise HTTPException(401, detail, headers={"WWW-Authenticate": "Bearer"}) from error
    _log.info(
        "login",
        action="login",
        resource="session",
        outcome="success",
        subject_id=caller.account.id,
        auth_strength=caller.auth_strength,
    )
    token = services.tokens.issue(caller.account.id, caller.auth_strength)
    return Token(access_token=token, expires_in=services.tokens.seconds)


@router.get("/me", responses=REFUSALS)
def me(caller: CallerDep) -> Profile:
    """Who the caller is."""
    account = caller.account
    return Profile(
        id=account.id,
        email=account.email,
        org_id=account.org_id,
        clearance=account.clearance,
        auth_strength=caller.auth_strength,
    )
