"""Which call needs which decision: the routes of a service, and the one spelling in which a path is accepted.

What the middleware takes a path for and what the application behind it takes it for must be the same. Every spelling
that some server, proxy or framework reads differently (`//`, `..`, `;`, an encoded slash or letter) is therefore
refused, instead of being mended here in one way and there in another.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote_to_bytes

from companyos.authz._text import is_visible
from companyos.authz.problem import Refusal
from companyos.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, MutableMapping

__all__ = ("WEBSOCKET", "Route", "RouteTable", "path_of", "require_plain_method")

WEBSOCKET = "WEBSOCKET"
"""The method of a route for websockets."""
Resource = Mapping[str, Any] | Callable[..., Any]

_METHOD = re.compile(r"[A-Z]+")
_NAME = re.compile(r"\{([a-zA-Z_][a-zA-Z0-9_]*)(\*?)\}")
_AMBIGUOUS = re.compile(rb"%(?:2[dDeEfF]|3[0-9bB]|4[1-9a-fA-F]|5[0-9aAcCfF]|6[1-9a-fA-F]|7[0-9aAeE]|25)")
"""Encoded letters, digits and marks that need no encoding, and encoded `/`, `\\`, `;` and `%`."""
_OVERRIDES = frozenset({b"x-http-method", b"x-http-method-override", b"x-method-override"})
_LITERAL, _PARAMETER, _REST = range(3)


@dataclass(frozen=True, slots=True)
class Route:
    """Calls of one shape, and the decision they need.

    Raises:
        ConfigError: the path or the method is not of the form described below.
    """

    method: str
    """HTTP method in capitals, or `WEBSOCKET`. A route for GET is one for HEAD too."""
    path: str
    """`/documents/{id}`; a last part `{rest*}` stands for one part or more. Compared as it is, letter case included."""
    action: str | None
    """What the call does; None where the application itself decides, by `require`."""
    resource: Resource | None = None
    """The resource, or what gives it: a function of the ASGI scope and the path's parameters, plain or asynchronous.

    Without it the resource is the route itself: `{"type": "endpoint", "id": path}`.
    """
    is_public: bool = False
    """Whether anybody may make the call without any decision."""

    def __post_init__(self) -> None:
        if not _METHOD.fullmatch(self.method):
            raise ConfigError("a route has no such method", got=self.method, expected="capitals, as in GET")
        if self.action is None and self.method == WEBSOCKET and not self.is_public:
            raise ConfigError("a websocket is decided about before it is accepted", hint="name the action")
        _segments(self.path)


class RouteTable:
    """The routes of a service; where several fit a path, the most literal one holds.

    Raises:
        ConfigError: two routes fit the same path, and neither is the more literal one everywhere.
    """

    def __init__(self, routes: Iterable[Route]) -> None:
        self._by_method: dict[str, list[tuple[Route, tuple[_Segment, ...]]]] = {}
        for route in routes:
            known = self._by_method.setdefault(route.method, [])
            segments = _segments(route.path)
            for other, its in known:
                if _overlap(segments, its) and not (_covers(segments, its) ^ _covers(its, segments)):
                    raise ConfigError(
                        "two routes fit the same path",
                        got=f"{route.method} {route.path} and {other.path}",
                        hint="make one of them the more literal one",
                    )
            known.append((route, segments))

    def find(self, method: str, path: str) -> tuple[Route, dict[str, str]]:
        """The route for a call, and its path's parameters.

        Raises:
            Refusal: none is declared.
        """
        fitting = self._fitting(method, path)
        if method == "HEAD":  # a route for HEAD takes the place of one for GET only where it is as literal
            fitting += self._fitting("GET", path)
        if not fitting:
            raise Refusal(403, "route.undeclared")
        route, segments = min(fitting, key=lambda pair: tuple(segment.kind for segment in pair[1]))
        return route, _parameters(segments, path)

    def _fitting(self, method: str, path: str) -> list[tuple[Route, tuple[_Segment, ...]]]:
        given = path[1:].split("/")
        return [pair for pair in self._by_method.get(method, ()) if _fits(pair[1], given)]


def path_of(scope: MutableMapping[str, Any]) -> str:
    """The path of a connection below the application's own root, if it is spelt in the one accepted way.

    Raises:
        Refusal: it is spelt in another.
    """
    path: str = scope["path"]
    segments = path[1:].split("/")
    plain = (
        path.startswith("/")
        and not any(segment in {"", ".", ".."} for segment in segments[:-1])
        and segments[-1] not in {".", ".."}
        and not any(mark in path for mark in "\\;%?#\ufffd")
        and is_visible(path)
        and unicodedata.is_normalized("NFC", path)
    )
    raw = scope.get("raw_path")
    if raw is not None:
        raw = bytes(raw).partition(b"?")[0]
        plain = plain and not _AMBIGUOUS.search(raw) and unquote_to_bytes(raw) == path.encode()
    if not plain:
        raise Refusal(400, "request.path")
    root: str = scope.get("root_path", "").rstrip("/")
    return path[len(root) :] if root and path.startswith(f"{root}/") else path


def require_plain_method(scope: MutableMapping[str, Any]) -> None:
    """Refuse what asks an application to take a request for one of another method.

    Raises:
        Refusal: there is such a header, or a parameter `_method` in the query.
    """
    # Some readers of queries part parameters by semicolons too.
    query = parse_qsl(scope.get("query_string", b"").decode("latin-1").replace(";", "&"), keep_blank_values=True)
    in_headers = any(name.lower() in _OVERRIDES for name, _ in scope["headers"])
    if in_headers or any(key.lower() == "_method" for key, _ in query):
        raise Refusal(400, "request.method_override")


@dataclass(frozen=True, slots=True)
class _Segment:
    kind: int
    text: str


def _segments(path: str) -> tuple[_Segment, ...]:
    if not path.startswith("/") or "//" in path or not is_visible(path):
        raise ConfigError("a route's path is not absolute", got=path, expected="as in /documents/{id}")
    found = [_segment(part, path) for part in path[1:].split("/")]
    names = [segment.text for segment in found if segment.kind != _LITERAL]
    if any(segment.kind == _REST for segment in found[:-1]) or len(names) != len(set(names)):
        raise ConfigError("a route's path has a parameter twice, or a rest that is not last", got=path)
    return tuple(found)


def _segment(part: str, path: str) -> _Segment:
    named = _NAME.fullmatch(part)
    if part in {".", ".."} or (named is None and any(mark in part for mark in "{}*%;\\?#")):
        raise ConfigError("a route's path cannot be read", got=path, expected="parts, {name} and a last {rest*}")
    return _Segment(_LITERAL, part) if named is None else _Segment(_REST if named[2] else _PARAMETER, named[1])


def _fits(segments: tuple[_Segment, ...], given: list[str]) -> bool:
    if len(segments) > len(given) or (len(segments) < len(given) and segments[-1].kind != _REST):
        return False
    if segments[-1].kind == _REST and given[-1] == "":
        return False
    pairs = zip(segments, given, strict=False)
    return all(segment.text == part if segment.kind == _LITERAL else part != "" for segment, part in pairs)


def _parameters(segments: tuple[_Segment, ...], path: str) -> dict[str, str]:
    given = path[1:].split("/")
    values = {segment.text: part for segment, part in zip(segments, given, strict=False) if segment.kind == _PARAMETER}
    if segments[-1].kind == _REST:
        values[segments[-1].text] = "/".join(given[len(segments) - 1 :])
    return values


def _overlap(left: tuple[_Segment, ...], right: tuple[_Segment, ...]) -> bool:
    """Whether some path fits both."""
    for one, other in zip(left, right, strict=False):
        if _REST in {one.kind, other.kind}:
            return True
        if one.kind == other.kind == _LITERAL and one.text != other.text:
            return False
        if "" in {segment.text for segment in (one, other) if segment.kind == _LITERAL} and one.kind != other.kind:
            return False
    return len(left) == len(right)


def _covers(wide: tuple[_Segment, ...], narrow: tuple[_Segment, ...]) -> bool:
    """Whether each path that fits `narrow` fits `wide` too."""
    for index, segment in enumerate(wide):
        if segment.kind == _REST:
            return len(narrow) > index
        if index >= len(narrow) or narrow[index].kind > segment.kind:
            return False
        if segment.kind == _LITERAL and narrow[index].text != segment.text:
            return False
    return len(wide) == len(narrow) and not (narrow and narrow[-1].kind == _REST and wide[-1].kind != _REST)
