"""Text that would drift is generated: `docs.py --write` writes it into the pages, `--check` says where it differs.

A page holds what is generated between `<!-- generated: NAME -->` and `<!-- end: NAME -->`; everything else in it is
written by hand. The schema in `contracts/` is generated whole.
"""

from __future__ import annotations

import difflib
import importlib
import inspect
import json
import re
import subprocess
import sys
import typing
from pathlib import Path
from typing import Any

import click
from pydantic import BaseModel, TypeAdapter
from pydantic_core import PydanticUndefined

import companyos
from companyos import config, hookspecs
from companyos.cli.table import COMMANDS
from companyos.errors import CompanyOSError, MissingExtraError

if typing.TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).resolve().parent.parent
SCHEMA = ROOT / "contracts" / "companyos.schema.json"
BLOCK = re.compile(r"(<!-- generated: (?P<name>[a-z-]+) -->\n)(?P<text>.*?)(<!-- end: (?P=name) -->)", re.DOTALL)
HELP_WIDTH = 100


def main(arguments: list[str]) -> int:
    """Write or compare every generated block of README.md and docs/, and the schema; 1 if one differs."""
    if arguments not in (["--check"], ["--write"]):
        print("usage: docs.py --check|--write", file=sys.stderr)
        return 2
    different, failed = 0, False
    for page in pages():
        old = page.read_text(encoding="utf-8") if page.exists() else ""
        try:
            new = schema_text() if page == SCHEMA else BLOCK.sub(fill, old)
        except ImportError as error:
            print(f"{page.relative_to(ROOT)} cannot be generated: {error}", file=sys.stderr)
            failed = True
            continue
        if new == old:
            continue
        different += 1
        print(f"{page.relative_to(ROOT)} {'written' if arguments == ['--write'] else 'differs'}", file=sys.stderr)
        if arguments == ["--write"]:
            page.write_text(new, encoding="utf-8")
        else:
            print("\n".join(difflib.unified_diff(old.splitlines(), new.splitlines(), lineterm="", n=1)))
    if different and arguments == ["--check"]:
        print("next: python scripts/docs.py --write", file=sys.stderr)
        failed = True
    return 1 if failed else 0


def pages() -> list[Path]:
    """Every page that may hold generated text."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), SCHEMA]


def schema_text() -> str:
    """The JSON Schema of companyos.yaml, for editors and for whoever checks one without us."""
    return json.dumps(config.json_schema(), indent=2) + "\n"


def fill(match: re.Match[str]) -> str:
    """One block, generated anew."""
    generate = GENERATORS.get(match["name"])
    if generate is None:
        raise SystemExit(f"no generator {match['name']!r}; known: {', '.join(GENERATORS)}")
    return f"{match[1]}\n{generate().strip()}\n\n{match[4]}"


def module_names() -> list[str]:
    """Every module of companyos, found by its file, so that one that does not import is not overlooked."""
    home = Path(companyos.__file__).parent
    found = [path.relative_to(home.parent).with_suffix("") for path in home.rglob("*.py")]
    packages = [path for path in found if all((home.parent / up / "__init__.py").is_file() for up in path.parents[:-1])]
    names = [".".join(path.parent.parts if path.name == "__init__" else path.parts) for path in packages]
    return sorted(name for name in names if not name.endswith("__main__"))


def modules() -> Iterator[Any]:
    """Every module of companyos that can be imported here."""
    for name in module_names():
        try:
            yield importlib.import_module(name)
        except MissingExtraError as error:
            print(f"{name} left out: {error}", file=sys.stderr)


def error_classes() -> list[type[CompanyOSError]]:
    """Every class of the tree of errors, by code."""
    list(modules())
    known = {CompanyOSError}
    waiting = [CompanyOSError]
    while waiting:
        children = [child for child in waiting.pop().__subclasses__() if child.__module__.startswith("companyos.")]
        waiting += [child for child in children if child not in known]
        known.update(children)
    return sorted(known, key=lambda kind: (kind.code, kind.__qualname__))


def errors_text() -> str:
    """One heading an error code."""
    return "\n\n".join(error_text(kind) for kind in error_classes())


def error_text(kind: type[CompanyOSError]) -> str:
    """What one class of errors promises."""
    parents = ", ".join(f"`{base.__name__}`" for base in kind.__bases__)
    facts = f"`{kind.__module__}.{kind.__qualname__}` ({parents}), exit status {kind.exit_status}."
    return f"## `{kind.code}`\n\n{paragraphs(kind)}\n\n{facts}"


def paragraphs(thing: object) -> str:
    """The docstring up to its first section."""
    return re.split(r"\n\n(?=\w+:\n)", inspect.getdoc(thing) or "")[0]


def settings_text() -> str:
    """One table a section of companyos.yaml."""
    return "\n\n".join(section_text(name, model) for name, model in sections(config.Settings))


def sections(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, type[BaseModel]]]:
    """Every model within the settings, with the path that leads to it; lists of models count as `name[]`."""
    for name, field in model.model_fields.items():
        for inner, suffix in inner_models(field.annotation):
            path = f"{prefix}{name}{suffix}"
            yield path, inner
            yield from sections(inner, f"{path}.")


def inner_models(annotation: Any) -> Iterator[tuple[type[BaseModel], str]]:
    """The models an annotation holds, directly or as elements."""
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        yield annotation, ""
        return
    suffix = "" if type(None) in typing.get_args(annotation) else "[]"
    for argument in typing.get_args(annotation):
        if inspect.isclass(argument) and issubclass(argument, BaseModel):
            yield argument, suffix


def section_text(name: str, model: type[BaseModel]) -> str:
    """Heading, sentence and table of one section."""
    rows = [
        f"| `{key}` | {type_name(field.annotation)} | {default_text(field)} | {cell(field.description or '')} |"
        for key, field in model.model_fields.items()
        if not any(True for _ in inner_models(field.annotation)) or field.description
    ]
    table = "\n".join(["| key | type | default | meaning |", "| --- | --- | --- | --- |", *rows])
    return f"## `{name}`\n\n{paragraphs(model)}\n\n{table}"


def type_name(annotation: Any) -> str:
    """A type as the reader of a YAML file knows it."""
    text = str(annotation) if typing.get_args(annotation) else getattr(annotation, "__name__", str(annotation))
    text = re.sub(r"\b(?:[a-z_]\w*\.)+(?=[A-Z])", "", text).replace("typing.", "").replace("NoneType", "None")
    return f"`{cell(text)}`"


def default_text(field: Any) -> str:
    """The default of a setting."""
    if field.is_required():
        return "*required*"
    value = field.get_default(call_default_factory=True)
    if value is None or value is PydanticUndefined:
        return "none"
    plain = TypeAdapter(Any).dump_python(value, mode="json")
    return f"`{cell(str(plain))}`" if plain not in ([], {}, "") else "empty"


def cell(text: str) -> str:
    """Text that can stand in a table."""
    return " ".join(text.split()).replace("|", "\\|")


def hooks() -> list[tuple[str, Callable[..., Any]]]:
    """Every hook, by name."""
    found = inspect.getmembers(hookspecs, inspect.isfunction)
    return [(name, spec) for name, spec in found if name.startswith("companyos_")]


def hook_signature(name: str) -> str:
    """A hook with the names of its arguments, in order: what an implementation must match."""
    return f"{name}({', '.join(inspect.signature(dict(hooks())[name]).parameters)})"


def commands_text() -> str:
    """One heading a command and subcommand, with its help."""
    return "\n\n".join(f"## `{name}`\n\n```text\n{text}\n```" for name, text in command_helps())


def command_helps() -> Iterator[tuple[str, str]]:
    """The help of every command and of every subcommand."""
    for entry in sorted(COMMANDS, key=lambda command: command.name):
        module, _, attribute = entry.target.partition(":")
        yield from walk(getattr(importlib.import_module(module), attribute), f"companyos {entry.name}")


def walk(command: click.Command, path: str) -> Iterator[tuple[str, str]]:
    """The help of one command and of those below it."""
    # The names of the help option come from the root command, as they do when the command is really called.
    names = ["-h", "--help"]
    context = click.Context(command, info_name=path, terminal_width=HELP_WIDTH, help_option_names=names)
    yield path, command.get_help(context).strip()
    if isinstance(command, click.Group):
        for name in sorted(command.commands):
            yield from walk(command.commands[name], f"{path} {name}")


def help_text() -> str:
    """The output of `companyos --help`."""
    program = [sys.executable, "-c", "import sys; from companyos.cli import main; sys.exit(main(['--help']))"]
    result = subprocess.run(program, capture_output=True, text=True, check=True, env={"COLUMNS": str(HELP_WIDTH)})
    return f"```text\n$ companyos --help\n{result.stdout.rstrip()}\n```"


GENERATORS: dict[str, Callable[[], str]] = {
    "commands": commands_text,
    "errors": errors_text,
    "help": help_text,
    "settings": settings_text,
}
"""Name of a block, and what makes its text."""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
