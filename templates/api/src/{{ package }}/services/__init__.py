"""What the service does, free of HTTP."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from ..models.accounts import Account
from .access import Access
from .accounts import Accounts
from .database import Database
from .documents import Documents
from .tokens import Tokens

if TYPE_CHECKING:
    from ..config.platform import Platform
    from ..config.settings import Settings

__all__ = ("Services",)


@dataclass(frozen=True, slots=True)
class Services:
    """Everything a handler may ask for."""

    settings: Settings
    """What the environment says."""
    platform: Platform
    """What companyos gives."""
    database: Database
    """Where accounts and documents are kept."""
    accounts: Accounts
    """Who may log in."""
    documents: Documents
    """What is kept."""
    tokens: Tokens
    """Sessions."""
    access: Access
    """Permission."""

    @classmethod
    def build(cls, settings: Settings, platform: Platform) -> Self:
        """Wire the services, and make the demo user if there is to be one."""
        company = platform.company.settings.company
        database = Database(settings.database_path)
        accounts = Accounts(database)
        if settings.demo_email:
            demo = Account("user-demo", settings.demo_email, company.name, "medium")
            accounts.ensure(demo, settings.demo_password, settings.demo_totp_secret)
        return cls(
            settings=settings,
            platform=platform,
            database=database,
            accounts=accounts,
            documents=Documents(database, company.region),
            tokens=Tokens(settings.session_key, settings.session_minutes),
            access=Access(platform.authorizer),
        )
