"""The control `AUTHZ-PROMOTION`: promotions to be refused, each by the rule that it breaks, and some that hold."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from companyos.authz.bundles.archive import pack
from companyos.authz.bundles.bundle import COMBINATION, Bundle
from companyos.authz.bundles.interface import PROMOTION_RULES
from companyos.authz.bundles.promotion import Candidate, judge_promotion, person_of
from companyos.authz.bundles.promotions import Promoted, Promotions
from companyos.authz.metering import Limits
from companyos.authz.specimens.bundles import NOW, files_of, signed, trust_of
from companyos.controls import Control, Specimen

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from companyos.authz.bundles.trust import BundleTrust
    from companyos.decision import Decision

__all__ = ("ID", "Wish", "promotion_control")

ID = "AUTHZ-PROMOTION"
_AUTHOR = "ann@example.org"
_TESTS = "access/tests/access.yaml"
_GOOD = b"""
- name: a document is read
  request: {subject: {id: u-1, type: user}, action: read, resource: {id: d-1, type: document}}
  expect: {decision: allow, reason: policy.open, obligations: []}
"""
_PLENTY = Limits(deadline_seconds=120)
_SHORT = Limits(deadline_seconds=2)
_QUICK = Limits(deadline_seconds=120, question_seconds=1)
_SMALL = Limits(deadline_seconds=120, memory_bytes=512 * 1024 * 1024)


@dataclass(frozen=True, slots=True)
class Wish:
    """A promotion that somebody wants."""

    candidate: Candidate
    """The bundle, the stage, and who."""
    trust: BundleTrust
    """The keys that count."""
    promotions: Promotions
    """What the ledger knows."""
    limits: Limits
    """What the policies may take."""


def promotion_control() -> Control:
    """The proof that promotions are judged."""
    return Control(
        id=ID,
        title="Policy bundles that may not enter a stage",
        check=_check,
        rules=PROMOTION_RULES,
        specimens=tuple(_specimens()),
        docs="bundles.md",
        subject="policy-promotion",
    )


def _check(wish: Wish) -> Decision:
    return judge_promotion(wish.candidate, wish.trust, wish.promotions, at=NOW, limits=wish.limits)


def _clean(name: str, build: Callable[[], Wish]) -> Specimen:
    return Specimen(name, lambda _: build())


def _bad(rule: str, name: str, build: Callable[[], Wish]) -> Specimen:
    return Specimen(name, lambda _: build(), f"promotion.{rule}")


def _wish(
    stage: str = "staging",
    by: str = "bob@example.org",
    *,
    known: tuple[tuple[str, str], ...] = (("2", "dev"),),
    tests: bytes | None = _GOOD,
    limits: Limits = _PLENTY,
    **more: Any,
) -> Wish:
    """A promotion of version 2, where `known` are versions and stages of before; version 2 is this very bundle."""
    files = files_of(**more) | ({} if tests is None else {_TESTS: tests})
    ours = Bundle.from_bytes(pack(files)).digest
    entries = tuple(
        _promoted(version, place, ours if version == "2" else f"sha256:{version}") for version, place in known
    )
    return Wish(Candidate(signed(files), stage, by), trust_of(), Promotions(entries, NOW), limits)


def _promoted(version: str, stage: str, digest: str) -> Promoted:
    author, promoter = person_of(_AUTHOR), person_of("bob@example.org")
    return Promoted("access", version, stage, digest, "sha256:0", author, promoter, "", "k", NOW, 0)


def _specimens() -> Iterator[Specimen]:
    yield _clean("into dev, by its author", partial(_wish, "dev", _AUTHOR, known=()))
    yield _clean("from dev to staging, by another", _wish)
    yield _clean("from staging to prod", partial(_wish, "prod", known=(("2", "dev"), ("2", "staging"), ("1", "prod"))))
    yield _clean("to staging while dev is ahead", partial(_wish, known=(("2", "dev"), ("3", "dev"))))
    yield from _bundles()
    yield from _orders()
    yield from _authors()
    yield from _tests()
    yield from _policies()


def _bundles() -> Iterator[Specimen]:
    def altered(alter: Callable[[bytes], bytes]) -> Wish:
        wish = _wish()
        return replace(wish, candidate=replace(wish.candidate, data=alter(wish.candidate.data)))

    yield _bad("bundle", "not signed", partial(altered, lambda data: pack(Bundle.from_bytes(data).files)))
    yield _bad("bundle", "cut short", partial(altered, lambda data: data[:-20]))
    yield _bad("bundle", "signed by a key that does not count", lambda: replace(_wish(), trust=trust_of(number=1)))
    yield _bad(
        "bundle",
        "signed by a key that expired",
        lambda: replace(_wish(), trust=trust_of(not_after="2026-01-01T00:00:00Z")),
    )
    yield _bad("bundle", "another content under a known version", _reused)


def _reused() -> Wish:
    wish = _wish()
    entries = tuple(replace(entry, digest="sha256:other", stage="staging") for entry in wish.promotions.entries)
    return replace(wish, promotions=Promotions(entries, NOW))


def _orders() -> Iterator[Specimen]:
    yield _bad("order", "to staging, never in dev", partial(_wish, known=()))
    yield _bad("order", "to prod, never in dev", partial(_wish, "prod", known=()))
    yield _bad("order", "from dev to prod", partial(_wish, "prod"))
    yield _bad(
        "order",
        "to prod, with an older version in staging",
        partial(_wish, "prod", known=(("2", "dev"), ("1", "staging"))),
    )
    yield _bad("order", "to a stage that nobody knows", partial(_wish, "production"))
    yield _bad("order", "to a stage in capitals", partial(_wish, "PROD", known=(("2", "dev"), ("2", "staging"))))
    yield _bad("older", "dev is at a newer version", partial(_wish, "dev", known=(("3", "dev"),)))
    yield _bad("older", "staging is at a newer version", partial(_wish, known=(("2", "dev"), ("3", "staging"))))
    newer = (("2", "dev"), ("2", "staging"), ("10", "prod"))
    yield _bad("older", "prod is at a newer version", partial(_wish, "prod", known=newer))
    yield _bad("repeated", "a second time to dev", partial(_wish, "dev"))
    yield _bad("repeated", "a second time to staging", partial(_wish, known=(("2", "dev"), ("2", "staging"))))


def _authors() -> Iterator[Specimen]:
    names = (
        "ann@example.org",
        "Ann@Example.ORG",
        "Ann <ann@example.org>",
        "Somebody else <ANN@example.org>",
        " ann@example.org ",
        "\uff41nn@example.org",
        "",
        "\u3164",
        "bob\n",
    )
    for name in names:
        yield _bad("author", f"promoted by {name!a}", partial(_wish, by=name))


def _tests() -> Iterator[Specimen]:
    yield _bad("untested", "no tests", partial(_wish, tests=None))
    yield _bad("untested", "an empty list of tests", partial(_wish, tests=b"[]"))
    yield _bad("untested", "no tests, into dev", partial(_wish, "dev", known=(), tests=None))
    wrong = {
        "the decision": (b"decision: allow", b"decision: deny"),
        "the reason": (b"policy.open", b"policy.other"),
        "an obligation": (b"obligations: []", b"obligations: [require_mfa]"),
        "the action": (b"action: read", b"action: write"),
        "its request": (b"id: u-1, ", b""),
    }
    for name, (one, other) in wrong.items():
        yield _bad("tests", f"a test that fails in {name}", partial(_wish, tests=_GOOD.replace(one, other)))
    second = _GOOD + _GOOD.replace(b"a document", b"another").replace(b"action: read", b"action: write")
    yield _bad("tests", "one test of two that fails", partial(_wish, tests=second))
    malformed = {
        "expects nothing": _GOOD.replace(b"decision: allow, ", b""),
        "expects what nobody answers": _GOOD.replace(b"decision: allow", b"decision: maybe"),
        "has the name of another": _GOOD + _GOOD,
        "has a misspelt key": _GOOD.replace(b"expect:", b"expects:"),
        "is no list": b"tests: none\n",
        "is no YAML": b"- [",
    }
    for name, tests in malformed.items():
        yield _bad("policy", f"a test that {name}", partial(_wish, tests=tests))


def _policies() -> Iterator[Specimen]:
    for name, content in {"a rule of its own": b'decision := {"allow": true}', "nothing": b""}.items():
        changed = {COMBINATION: _HEAD + content}
        yield _bad("combination", f"{name} in place of the fixed rule", partial(_wish, more=changed))
    refused = {
        "reads the network": 'http.send({"method": "get", "url": "https://evil.example"}).status_code == 200',
        "reads the machine": "opa.runtime().env.HOME",
        "reads the clock": "time.now_ns() > 0",
        "throws dice": 'rand.intn("x", 2) == 1',
        "calls what the engine does not know": "nobody.knows(1)",
        "does not parse": "input.action ==",
        "nests literals without measure": f"input.resource.x == {'[' * 24}1{']' * 24}",
        "reads data that is not there": "not data.nothing.here",
        "reads a part that no request has": "not input.resourcee.classified",
        "reads an action as if it had parts": 'input.action.name != "delete"',
    }
    for name, body in refused.items():
        yield _bad("policy", f"a policy that {name}", partial(_wish, policy=_policy(body)))
    yield _bad(
        "policy", "a policy that defines the decision", partial(_wish, policy=_HEAD + b'decision := {"allow": true}\n')
    )
    endless = "count([1 | some a in numbers.range(1, 200000); some b in numbers.range(1, 200000); a == b + 0.5]) == 0"
    yield _bad("metering", "a policy that loops", partial(_wish, policy=_policy(endless), limits=_SHORT))
    growing = "count([a | some a in numbers.range(1, 400000000)]) > 0"
    yield _bad("metering", "a policy that explodes", partial(_wish, policy=_policy(growing), limits=_SMALL))
    rare = f'input.action == "bulk_pay"; input.resource.kind == "rare"; {endless}'
    yield _bad("metering", "a policy that loops for one action", partial(_wish, policy=_policy(rare), limits=_QUICK))
    pairs = "some a in input.resource.items; some b in input.resource.items; a.price == b.price + 0.5"
    yield _bad(
        "metering", "a policy that loops over a list twice", partial(_wish, policy=_policy(pairs), limits=_QUICK)
    )


_HEAD = b"package companyos.access\n\nimport rego.v1\n\n"


def _policy(body: str) -> bytes:
    return _HEAD + f'allow contains {{"id": "policy.open", "message": ""}} if {{\n\t{body}\n}}\n'.encode()
