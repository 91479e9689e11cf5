"""How commands take an access request: in parts by options, or whole from a file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from companyos._json import strict_loads
from companyos.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import IO

__all__ = ("read_request", "request_options", "spelled_out")

_PARTS = (
    ("--subject", "JSON", "Who asks: id, type, attributes."),
    ("--action", "NAME", "What is to be done."),
    ("--resource", "JSON", "To what: id, type, region, contains_pii, ..."),
    ("--environment", "JSON", "Where and how: ip, auth_strength, approval_ticket, ..."),
)

_EXAMPLES = {
    "--subject": '\'{"id": "u-1", "type": "user"}\', or \'"u-1"\' for whom the identity store knows',
    "--resource": '\'{"id": "d-1", "type": "document"}\'',
    "--environment": '\'{"auth_strength": "mfa"}\'',
}
_WHOLE = '{"subject": {"id": "u-1", "type": "user"}, "action": "read", "resource": {"id": "d-1", "type": "document"}}'


def request_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the options that `read_request` reads."""
    whole = "A whole request from a file, or - for stdin."
    command = click.option("--request", "file", type=click.File(encoding="utf-8"), help=whole)(command)
    for name, metavar, text in reversed(_PARTS):
        command = click.option(name, metavar=metavar, help=text)(command)
    return command


def read_request(file: IO[str] | None, **parts: str | None) -> Any:
    """The request that the options hold, not checked yet.

    Raises:
        UsageError: a part is missing, or said twice.
        UserError: something is not JSON, or cannot be read.
    """
    return _from_options(parts) if file is None else _from_file(file, parts)


def spelled_out(request: Any) -> Any:
    """The request, for those who cannot look a subject up.

    Raises:
        UserError: its subject is an id alone.
    """
    if isinstance(request, dict) and isinstance(request.get("subject"), str):
        raise UserError(
            "a subject that is given by its id is looked up by a recorded decision only",
            got=request["subject"],
            expected='the whole subject, such as {"id": "u-1", "type": "user"}',
            hint="see it with `companyos identity show ID --json`",
        )
    return request


def _from_options(parts: dict[str, str | None]) -> dict[str, Any]:
    missing = [f"--{name}" for name in ("subject", "action", "resource") if parts[name] is None]
    if missing:
        raise click.UsageError(f"missing {', '.join(missing)} (or --request FILE)")
    given = {name: value for name, value in parts.items() if value is not None}
    return {name: value if name == "action" else _json(value, f"--{name}") for name, value in given.items()}


def _from_file(file: IO[str], parts: dict[str, str | None]) -> Any:
    both = [f"--{name}" for name, value in parts.items() if value is not None]
    if both:
        raise click.UsageError(f"--request already holds what {', '.join(both)} would say")
    try:
        text = file.read()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError("the request cannot be read", got=error, expected="a readable UTF-8 file") from error
    return _json(text, "--request")


def _json(text: str, option: str) -> Any:
    try:
        return strict_loads(text)
    except ValueError as error:
        raise UserError(
            f"{option} is not JSON", got=error, hint=f"for example {_EXAMPLES.get(option, _WHOLE)}"
        ) from error
