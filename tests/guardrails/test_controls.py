"""Every control catches what is planted and lets clean trees through, and notices when one of its rules is gone."""

from __future__ import annotations

import re
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from companyos.controls import prove
from companyos.decision import Verdict
from companyos.guardrails import (
    SnapshotIndex,
    load_catalogue,
    packages_control,
    placeholders_control,
    secrets_control,
)
from companyos.guardrails.packages.indexes import OfflineIndex
from companyos.guardrails.packages.verify import DETECTORS as PACKAGE_DETECTORS
from companyos.guardrails.placeholders.control import LINE_DETECTORS
from companyos.guardrails.placeholders.python import PYTHON_DETECTORS, PythonFile
from companyos.guardrails.placeholders.typescript import TYPESCRIPT_DETECTORS, ScriptFile
from companyos.guardrails.plugin import companyos_controls
from companyos.guardrails.secrets.detectors import DETECTORS as SECRET_DETECTORS
from companyos.guardrails.secrets.detectors import SHAPES, shaped
from companyos.guardrails.secrets.engines import Gitleaks, OwnDetectors
from companyos.guardrails.specimens.g02 import body
from companyos.guardrails.specimens.g03 import INDEX


def _without(detectors, rule):
    return {name: detect for name, detect in detectors.items() if name != rule}


@pytest.mark.parametrize("control", companyos_controls(), ids=lambda control: control.id)
def test_everything_planted_is_caught_and_nothing_clean_is_refused(control):
    """The score of each control is full."""
    proof = prove(control)

    assert [] == [result for result in proof.results if not result.passed]
    assert proof.planted >= 5
    assert proof.clean >= 5


@pytest.mark.parametrize("rule", sorted(SECRET_DETECTORS))
def test_a_missing_detector_of_secrets_is_noticed(rule):
    """Without one of its detectors G02 no longer holds."""
    control = secrets_control([OwnDetectors(_without(SECRET_DETECTORS, rule))])

    assert not prove(control).holds


@pytest.mark.parametrize(
    ("rule", "place"), [(rule, place) for rule, patterns in SHAPES.items() for place in range(len(patterns))]
)
def test_a_missing_shape_of_a_token_is_noticed(rule, place):
    """Without any single one of the providers' token shapes G02 no longer holds."""
    kept = tuple(re.compile(p) for number, p in enumerate(SHAPES[rule]) if number != place)
    weak = {**SECRET_DETECTORS, rule: partial(shaped, kept)}

    assert not prove(secrets_control([OwnDetectors(weak)])).holds


@pytest.mark.parametrize("rule", sorted(PYTHON_DETECTORS))
def test_a_missing_detector_of_stubs_in_python_is_noticed(rule):
    """Without one of its detectors for Python G01 no longer holds."""
    assert not prove(placeholders_control(python=_without(PYTHON_DETECTORS, rule))).holds


@pytest.mark.parametrize("rule", sorted(TYPESCRIPT_DETECTORS))
def test_a_missing_detector_of_stubs_in_typescript_is_noticed(rule):
    """Without one of its detectors for TypeScript G01 no longer holds."""
    assert not prove(placeholders_control(typescript=_without(TYPESCRIPT_DETECTORS, rule))).holds


@pytest.mark.parametrize("rule", sorted(LINE_DETECTORS))
def test_a_missing_detector_of_lines_is_noticed(rule):
    """Without its detector for other files G01 no longer holds."""
    assert not prove(placeholders_control(lines=_without(LINE_DETECTORS, rule))).holds


@pytest.mark.parametrize("rule", sorted(PACKAGE_DETECTORS))
def test_a_missing_detector_of_packages_is_noticed(rule):
    """Without one of its detectors G03 no longer holds."""
    assert not prove(packages_control(detectors=_without(PACKAGE_DETECTORS, rule))).holds


def test_a_finding_never_shows_the_secret(plant):
    """The secret is in no part of the decision."""
    secret = "ghp_" + body("shown", 36)
    decision = secrets_control([OwnDetectors()]).check(plant({"a.py": f'TOKEN = "{secret}"\n'}))

    assert Verdict.DENY is decision.verdict
    assert secret[8:] not in str(decision.to_dict())


def test_an_engine_that_is_not_installed_is_reported_and_one_is_enough(plant):
    """Without gitleaks our own detectors decide, and the gap is told."""
    control = secrets_control([OwnDetectors(), Gitleaks("/nowhere/gitleaks")])
    decision = control.check(plant({"a.py": "x = 1\n"}))

    assert decision.allow
    assert {"companyos": "ran", "gitleaks": "missing"} == {e["engine"]: e["status"] for e in decision.facts["engines"]}


def test_too_few_engines_are_never_green(plant):
    """When fewer of the accepted engines run than must, the answer is undetermined."""
    decision = secrets_control([OwnDetectors(), Gitleaks("/nowhere/gitleaks")], least=2).inspect(
        _tree(plant({"a.py": "x = 1\n"}))
    )

    assert Verdict.UNDETERMINED is decision.verdict


@pytest.mark.parametrize("script", ["exit 1", "exit 0", "exit 126", "echo '[]' > /dev/null; kill -9 $$"])
def test_an_engine_that_fails_is_never_green(plant, tmp_path, script):
    """A program that crashes, or exits without a report, leaves the answer undetermined."""
    program = tmp_path / "gitleaks"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    decision = secrets_control([OwnDetectors(), Gitleaks(str(program))]).inspect(_tree(plant({"a.py": "x = 1\n"})))

    assert Verdict.UNDETERMINED is decision.verdict


def test_an_index_that_does_not_answer_is_undetermined(plant):
    """Packages that could not be looked up are not taken for real."""
    root = plant({"requirements.txt": f"click==8.1.7 --hash=sha256:{'0' * 64}\n"})

    assert Verdict.UNDETERMINED is packages_control(OfflineIndex()).check(root).verdict


@pytest.mark.parametrize(
    "path",
    [
        "pnpm-lock.yaml",
        "yarn.lock",
        "Pipfile.lock",
        "Cargo.toml",
        "Cargo.lock",
        "Gemfile",
        "Gemfile.lock",
        "composer.lock",
        "go.mod",
        "go.sum",
        "Pipfile",
        "environment.yml",
        "bun.lock",
        "pom.xml",
    ],
)
def test_a_lock_file_of_an_unknown_kind_is_undetermined(plant, path):
    """A lock file that cannot be judged is a gap."""
    decision = packages_control(SnapshotIndex(INDEX)).check(plant({path: "x\n"}))

    assert Verdict.UNDETERMINED is decision.verdict


def test_the_catalogue_knows_all_patterns_and_says_what_is_supplied():
    """Nineteen patterns; what is marked as implemented is exactly what the plugin supplies of G01 to G20."""
    catalogue = load_catalogue()

    assert list(range(1, 20)) == [pattern.number for pattern in catalogue.patterns]
    supplied = {control.id for control in companyos_controls() if re.fullmatch(r"G\d\d", control.id)}
    assert supplied == {c.id for c in catalogue.controls if c.implemented}
    assert all(pattern.controls or pattern.practice for pattern in catalogue.patterns)


@given(st.text(max_size=400))
def test_no_text_crashes_a_detector(text):
    """Whatever a file holds, detectors answer with places in it."""
    for path in ("a.py", "a.ts", ".env", "Dockerfile", "x.yaml"):
        for detect in SECRET_DETECTORS.values():
            assert all(hit.line >= 1 for hit in detect(path, text))
    for detect in PYTHON_DETECTORS.values():
        assert all(hit.line >= 1 for hit in detect(PythonFile("a.py", text)))
    for detect in TYPESCRIPT_DETECTORS.values():
        assert all(hit.line >= 1 for hit in detect(ScriptFile("a.ts", text)))


def _tree(root):
    from companyos.guardrails import Tree

    return Tree.open(root)
