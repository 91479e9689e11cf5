"""Registries are complete: what is registered is documented, loads, and is tested."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path

import click
import pytest

from companyos import config
from companyos.cli.table import COMMANDS
from scripts import docs

ROOT = Path(__file__).resolve().parent.parent.parent
DOCS = ROOT / "docs"
HAND_WRITTEN = [page for page in docs.pages() if page.name != "cli.md"]
CODE = re.compile(r"^[a-z0-9]+(?:[._-][a-z0-9]+)*$")


def page_text(name: str) -> str:
    """A page of the documentation."""
    return (DOCS / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("kind", docs.error_classes(), ids=lambda kind: kind.__qualname__)
def test_every_error_has_a_code_and_a_heading(kind):
    """Each class of errors has a code of its own, a known exit status, a docstring and a place in docs/errors.md."""
    assert "code" in vars(kind), f"{kind.__qualname__} has only the code of its parent"
    assert CODE.match(kind.code), f"{kind.code!r} is not a dotted lower-case code"
    assert kind.exit_status in {1, 2, 3}
    assert kind.__doc__
    assert f"## `{kind.code}`\n" in page_text("errors.md")


def test_no_two_errors_share_a_code():
    """A code names one class of errors."""
    codes = [kind.code for kind in docs.error_classes()]

    assert sorted(set(codes)) == codes


@pytest.mark.parametrize("name", [name for name, _ in docs.hooks()])
def test_every_hook_has_a_heading_with_its_signature(name):
    """docs/plugins.md has a heading for each hook, with its arguments as hookspecs.py declares them, and text below."""
    headings = re.findall(r"^#{2,4} `?(\w+\([^)\n]*\))`?\n\n[A-Z]", page_text("plugins.md"), re.MULTILINE)

    assert docs.hook_signature(name) in headings


@pytest.mark.parametrize("name", [name for name, _ in docs.hooks()])
def test_every_hook_is_used_in_a_test(name):
    """A hook without a test of its own is a promise nobody keeps."""
    tests = [path for path in (ROOT / "tests").rglob("*.py") if "house" not in path.parts]

    assert any(name in path.read_text(encoding="utf-8") for path in tests), f"no test mentions {name}"


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_every_command_loads_and_is_documented(command):
    """Each command of the table is a click command with help, and some page written by hand shows how to use it."""
    module, _, attribute = command.target.partition(":")
    loaded = getattr(import_module(module), attribute)

    assert isinstance(loaded, click.Command)
    assert loaded.help
    assert command.help.endswith(".")
    mention = re.compile(rf"companyos {re.escape(command.name)}\b")
    assert any(mention.search(page.read_text(encoding="utf-8")) for page in HAND_WRITTEN)


def test_commands_are_sorted_and_unique():
    """The table of commands is in order and names each command once."""
    names = [command.name for command in COMMANDS]

    assert sorted(set(names)) == names


@pytest.mark.parametrize(("section", "model"), list(docs.sections(config.Settings)), ids=lambda value: str(value)[:40])
def test_every_setting_is_described(section, model):
    """Each key of companyos.yaml has a description and a row in docs/configuration.md, each section a heading."""
    text = page_text("configuration.md")
    nested = {
        name for name, field in model.model_fields.items() if any(True for _ in docs.inner_models(field.annotation))
    }

    assert model.__doc__
    assert f"## `{section}`\n" in text
    for name, field in model.model_fields.items():
        assert field.description or name in nested, f"{section}.{name} has no description"
        assert name in nested or f"| `{name}` |" in text
