"""Without any extra, every public module imports, or says in one line what to install."""

from __future__ import annotations

import re
import tomllib
from importlib import import_module, metadata
from pathlib import Path

import pytest

from companyos.errors import MissingExtraError
from scripts.docs import module_names

pytestmark = pytest.mark.bare

ROOT = Path(__file__).resolve().parent.parent.parent
INSTALL = re.compile(r"pip install 'companyos\[([a-z0-9-]+)\](?: @ \S+)?'")
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
MODULES = module_names()
OURS_FOR_TESTS = {"pytest"}
"""Named by the extra `testing`, and needed to run this test."""


def names_of(requirements):
    """The distribution names in a list of requirements, without our own."""
    return {re.split(r"[\s\[<>=!~;@]", text, maxsplit=1)[0].lower() for text in requirements} - {"companyos"}


def reached(module, name):
    """None if the name is there, else the error that says what to install."""
    try:
        getattr(import_module(module), name) if name else import_module(module)
    except MissingExtraError as error:
        return error
    return None


def test_no_extra_is_installed():
    """This environment holds nothing that belongs to an extra: otherwise the tests below would prove nothing."""
    base = names_of(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"])
    optional = {name for requirements in EXTRAS.values() for name in names_of(requirements)} - base - OURS_FOR_TESTS
    installed = {(found.metadata["Name"] or "").lower() for found in metadata.distributions()}

    assert optional
    assert set() == optional & installed


@pytest.mark.parametrize("module", MODULES)
def test_a_module_imports_or_says_what_to_install(module):
    """Importing a module works, or the error names an extra that exists."""
    error = reached(module, None)

    if error is not None:
        assert INSTALL.search(str(error))[1] in EXTRAS


@pytest.mark.parametrize("module", MODULES)
def test_a_public_name_is_there_or_says_what_to_install(module):
    """Each name in `__all__` is there, or the error names an extra that exists."""
    if reached(module, None) is not None:
        return
    for name in getattr(import_module(module), "__all__", ()):
        error = reached(module, name)
        if error is not None:
            assert INSTALL.search(str(error))[1] in EXTRAS


def test_a_missing_extra_exits_with_could_not_check():
    """The error that says what to install is never a pass: exit status 3, and one line that can be copied."""
    from companyos._extras import require

    with pytest.raises(MissingExtraError) as caught:
        require("a_module_that_is_nowhere", extra="authz")

    assert caught.value.exit_status == 3
    assert "next: pip install 'companyos[authz]" in str(caught.value)
