"""Redis and Valkey as the cache, over redis-py; the steps that must be atomic are scripts on the server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from companyos._extras import require
from companyos.errors import ConfigError
from companyos.state.errors import CacheUnreachableError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ("RedisCache",)

_SWAP = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
if ARGV[2] == '' then redis.call('DEL', KEYS[1]) else redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3]) end
return 1
"""
# companyos.state.entry.settle, in Lua. Versions are compared as numbers: exact below 2^53, of which they are far.
_PUBLISH = """
local now = redis.call('GET', KEYS[1])
if not now then return 0 end
local version, head = tonumber(string.sub(ARGV[2], 2, 21)), string.sub(now, 1, 1)
if head == 'F' and #now == 53 then
  local newest = tonumber(string.sub(now, 2, 21))
  if string.sub(now, 22) == string.sub(ARGV[1], 22) then
    if newest and newest <= version then
      redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
      return 1
    end
  elseif newest then
    if newest < version then
      local left = redis.call('PTTL', KEYS[1])
      redis.call('SET', KEYS[1], 'F' .. string.sub(ARGV[2], 2, 21) .. string.sub(now, 22), 'PX', math.max(left, 1))
    end
    return 0
  end
elseif head == 'E' then
  local found = tonumber(string.sub(now, 2, 21))
  if found and found >= version then return 0 end
end
redis.call('DEL', KEYS[1])
return 0
"""


class RedisCache:
    """A Redis (5 or newer) or Valkey server.

    `timeout_seconds` bounds every call: a slow cache is worse than none. `prefix` keeps apart what shares a server.
    Persistence of the server is best off: what it restores costs reads that are refused.

    Raises:
        ConfigError: the URL is none of Redis.
        MissingExtraError: redis-py is not installed.
    """

    def __init__(self, url: str, *, timeout_seconds: float = 0.25, prefix: str = "companyos:state:") -> None:
        redis = require("redis", extra="state")
        # ValueError: what came over the wire cannot be read, or was to be decoded as text and is none.
        self._unreachable = (redis.exceptions.RedisError, OSError, ValueError)
        self._wrong_answer = redis.exceptions.ResponseError
        self._unknown_script = redis.exceptions.NoScriptError
        self._prefix = prefix
        retry = redis.retry.Retry(require("redis.backoff", extra="state").NoBackoff(), 0)
        try:
            self._redis = redis.Redis.from_url(
                url,
                socket_timeout=timeout_seconds,
                socket_connect_timeout=timeout_seconds,
                retry=retry,
            )
        except ValueError as error:
            raise ConfigError(f"no URL of a cache: {url}", got=error, expected="redis://HOST:PORT/0") from error
        self._swap = self._redis.register_script(_SWAP)
        self._publish = self._redis.register_script(_PUBLISH)

    def get(self, key: str) -> bytes | None:
        """What is there."""
        try:
            found = self._redis.get(self._prefix + key)
        except self._wrong_answer as error:
            if not str(error).startswith("WRONGTYPE"):
                raise _unreachable(error) from error
            self._asked(lambda: self._redis.delete(self._prefix + key))
            return None
        except self._unreachable as error:
            raise _unreachable(error) from error
        if found is None or isinstance(found, bytes):
            return found
        raise CacheUnreachableError("the cache answers with something else than bytes", got=type(found).__name__)

    def put(self, key: str, value: bytes, ttl_seconds: float) -> None:
        """Put it there, whatever was there."""
        self._asked(lambda: self._redis.set(self._prefix + key, value, px=_milliseconds(ttl_seconds)))

    def add(self, key: str, value: bytes, ttl_seconds: float) -> bool:
        """Put it there if nothing is there; whether it was done."""
        name, ttl = self._prefix + key, _milliseconds(ttl_seconds)
        return bool(self._asked(lambda: self._redis.set(name, value, px=ttl, nx=True)))

    def swap(self, key: str, old: bytes, new: bytes | None, ttl_seconds: float) -> bool:
        """Put `new` in the place of `old`, if that is there; whether it was done."""
        return self._run(self._swap, key, old, new or b"", ttl_seconds)

    def publish(self, key: str, marker: bytes, value: bytes, ttl_seconds: float) -> None:
        """Put there what `settle` says."""
        self._run(self._publish, key, marker, value, ttl_seconds)

    def close(self) -> None:
        """Close the connections."""
        self._redis.close()

    def _run(self, script: Any, key: str, first: bytes, second: bytes, ttl_seconds: float) -> bool:
        keys, arguments = [self._prefix + key], [first, second, _milliseconds(ttl_seconds)]

        def ask() -> Any:
            try:
                # By its digest alone: what redis-py does around it is a sixth of the call.
                return self._redis.evalsha(script.sha, 1, *keys, *arguments)
            except self._unknown_script:
                return script(keys=keys, args=arguments)

        return bool(self._asked(ask))

    def _asked(self, action: Callable[[], Any]) -> Any:
        try:
            return action()
        except self._unreachable as error:
            raise _unreachable(error) from error


def _milliseconds(seconds: float) -> int:
    return max(1, round(seconds * 1000))


def _unreachable(error: Exception) -> CacheUnreachableError:
    return CacheUnreachableError("the cache does not answer", got=error)
