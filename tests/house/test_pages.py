"""Documentation that cannot lie: its code runs, its generated parts are current."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from companyos.config import Settings, load, parse_yaml

ROOT = Path(__file__).resolve().parent.parent.parent
RUNNER = Path(__file__).with_name("run_page.py")
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
RUNNABLE = re.compile(r"^```(?:python\n|(?:console|sh)\n\$ (?:\w+=\S* )*companyos )", re.MULTILINE)
BLOCK = re.compile(r"^```yaml\n(?P<body>(?P<key>\w+):.*?)^```$", re.MULTILINE | re.DOTALL)
SETTINGS = [
    (page, block["body"])
    for page in PAGES
    for block in BLOCK.finditer(page.read_text(encoding="utf-8"))
    if block["key"] in Settings.model_fields
]
ADRS = sorted((ROOT / "docs" / "adr").glob("*.md"))
SECTIONS = ("## Status", "## Context", "## Decision", "## Consequences")
LIMIT_SECONDS = 300


def name_of(path: Path) -> str:
    """A page's path from the root of the repository."""
    return path.relative_to(ROOT).as_posix()


@pytest.mark.docs
@pytest.mark.parametrize("page", [p for p in PAGES if RUNNABLE.search(p.read_text(encoding="utf-8"))], ids=name_of)
def test_the_code_of_a_page_runs(page, tmp_path):
    """All `python` blocks of a page run in order in one namespace, and its `$ companyos` commands do what they say."""
    result = subprocess.run(
        [sys.executable, str(RUNNER), str(page)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=LIMIT_SECONDS,
        check=False,
    )

    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize(("page", "text"), SETTINGS, ids=[name_of(page) for page, _ in SETTINGS])
def test_settings_that_a_page_shows_can_be_set(page, text, tmp_path):
    """A `yaml` block that begins with a section of companyos.yaml is one that loads, whole."""
    path = tmp_path / "companyos.yaml"
    path.write_text(text, encoding="utf-8")

    assert load(path, {}).model_dump(exclude_unset=True).keys() == parse_yaml(text, page.name).keys()


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_within_the_repository_lead_somewhere(page):
    """Every relative link of a page points to a file that exists."""
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    targets = re.findall(r"\]\((?!https?:|mailto:|#)([^)#\s]+)", text)

    assert [] == [target for target in targets if not (page.parent / target).exists()]


@pytest.mark.parametrize("adr", ADRS, ids=name_of)
def test_a_decision_is_written_down_whole(adr):
    """An ADR is `NNNN-title-in-words.md`, opens with that title, and has status, context, decision, consequences."""
    text = adr.read_text(encoding="utf-8")
    title = iter(
        re.findall(r"[a-z0-9]+", text.splitlines()[0].lower().replace("&", "and").replace("/", "").replace("'", ""))
    )

    assert text.startswith("# ")
    assert re.match(r"\d{4}-", adr.name)
    assert all(word in title for word in adr.stem.split("-")[1:]), "the name is not made of words of the title"
    assert list(SECTIONS) == [line for line in text.splitlines() if line in SECTIONS]


def test_decisions_are_numbered_once():
    """No two ADRs have the same number."""
    numbers = [adr.name[:4] for adr in ADRS]

    assert sorted(set(numbers)) == numbers
