"""The caches that come with CompanyOS: in this process, and Redis or Valkey."""

from __future__ import annotations

from companyos.state.caches.memory import MemoryCache
from companyos.state.caches.redis import RedisCache

__all__ = ("MemoryCache", "RedisCache")
