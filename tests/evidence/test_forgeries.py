"""Forgeries by those who hold a key: times, claims, signatures and entries."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from companyos.canonical import canonical_bytes, sha256_hex
from companyos.errors import UserError
from companyos.evidence import Pack, PackAlteredError, PackInvalidError
from companyos.evidence.claim import CHECKPOINT, ENTRIES, STATEMENT
from companyos.evidence.container import pack_bytes, unpack_bytes
from companyos.ledger import Checkpoint, Ledger, Proof
from companyos.ledger.merkle import leaf_hash
from companyos.ledger.url import key_directory
from companyos.signing import Envelope, PrivateKey, TrustedKey, TrustPolicy, UntrustedError

if TYPE_CHECKING:
    from pathlib import Path

DAY = timedelta(days=1)


@dataclass
class Forge:
    """A clean pack, the keys behind it, and ways to sign something else with them."""

    path: Path
    signer: PrivateKey
    ledger: PrivateKey

    def __post_init__(self):
        self.members = unpack_bytes(self.path.read_bytes())
        self.payload = json.loads(Envelope.from_bytes(self.members[STATEMENT]).payload)
        self.logged = Pack.verify(self.path, self.trust()).logged

    def trust(self, role="evidence", **bounds):
        """A policy with bounds in time on the key of one role."""
        keys = (("evidence", self.signer), ("ledger", self.ledger))
        return TrustPolicy(
            keys=tuple(
                TrustedKey(name=r, public_key=k.public.pem, roles=frozenset({r}), **(bounds if r == role else {}))
                for r, k in keys
            )
        )

    def signed(self, members=None, *, predicate=None, subject=None):
        """A pack of other members, or with another claim, validly signed by the pack's own key."""
        rest = {name: data for name, data in (members or self.members).items() if name != STATEMENT}
        listed = [{"name": name, "digest": {"sha256": sha256_hex(rest[name])}} for name in sorted(rest)]
        payload = self.payload | {
            "subject": listed if subject is None else subject(listed),
            "predicate": self.payload["predicate"] | (predicate or {}),
        }
        envelope = Envelope.sign("application/vnd.in-toto+json", canonical_bytes(payload), [self.signer])
        return self.write({**rest, STATEMENT: envelope.to_bytes()})

    def write(self, members):
        """A pack of these members as they are."""
        path = self.path.with_name("forged.cpack")
        path.write_bytes(pack_bytes(members))
        return path

    def at(self, offset):
        """The claim that the pack was signed so long after its evidence was logged."""
        return {"created": (self.logged + offset).isoformat()}


@pytest.fixture(params=["ed25519", "ecdsa-p256"])
def forge(tmp_path, request):
    """A pack to forge from."""
    signer = PrivateKey.generate(request.param)
    url = f"sqlite:///{tmp_path}/ledger.db"
    with Ledger.open(url) as ledger:
        for number in range(2):
            ledger.append("companyos.test", {"number": number})
        evidence = {"tests/unit.xml": b"<testsuite><testcase/></testsuite>"}
        path = tmp_path / "a.cpack"
        Pack.build(path, subject="orders", evidence=evidence, ledger=ledger, entries=[0, 1], signer=signer)
    return Forge(path, signer, PrivateKey.load(f"file:{key_directory(url)}/ledger.pem"))


def test_a_revoked_key_is_judged_by_the_clock_of_the_ledger(forge):
    """A thief cannot make a pack older than the ledger entry it must carry, and so not older than the revocation."""
    revoked = forge.trust(revoked_at=forge.logged - DAY)

    with pytest.raises(UntrustedError):
        Pack.verify(forge.path, revoked)
    with pytest.raises(PackAlteredError, match="before its evidence was logged"):
        Pack.verify(forge.signed(predicate=forge.at(-2 * DAY)), revoked)
    with pytest.raises(UntrustedError):
        Pack.verify(forge.signed(predicate=forge.at(timedelta())), revoked)


def test_a_revoked_ledger_key_is_judged_by_the_same_clock(forge):
    """A checkpoint by a ledger key that did not count when the evidence was logged does not count."""
    with pytest.raises(UserError, match="checkpoint"):
        Pack.verify(forge.path, forge.trust("ledger", revoked_at=forge.logged))
    Pack.verify(forge.path, forge.trust("ledger", revoked_at=forge.logged + timedelta(seconds=1)))


def test_a_claim_from_the_time_after_the_revocation_does_not_count(forge):
    """Evidence logged in time and signed again too late is not signed by a key that counted."""
    path = forge.signed(predicate=forge.at(2 * DAY))
    later = forge.logged + 3 * DAY

    Pack.verify(path, forge.trust(), at=later)
    with pytest.raises(UntrustedError):
        Pack.verify(path, forge.trust(revoked_at=forge.logged + DAY), at=later)


def test_nothing_is_signed_in_the_future(forge):
    """Five minutes are forgiven to a clock, a day is not; and years later the pack is as good as today."""
    with pytest.raises(PackAlteredError, match="in the future"):
        Pack.verify(forge.signed(predicate=forge.at(DAY)), forge.trust())
    with pytest.raises(PackAlteredError, match="in the future"):
        Pack.verify(forge.path, forge.trust(), at=forge.logged - DAY)
    Pack.verify(forge.signed(predicate=forge.at(timedelta(minutes=4))), forge.trust(), at=forge.logged)
    Pack.verify(forge.path, forge.trust(not_after=forge.logged + DAY), at=datetime(2999, 1, 1, tzinfo=UTC))


def test_the_time_to_judge_at_has_a_zone(forge):
    """A time without a zone is not guessed at."""
    with pytest.raises(UserError, match="no time zone"):
        Pack.verify(forge.path, forge.trust(), at=datetime(2999, 1, 1))  # noqa: DTZ001 - that is the point


@pytest.mark.parametrize(
    "predicate",
    [
        {"origin": ""},
        {"origin": "a b"},
        {"origin": "a+b"},
        {"origin": 5},
        {"subject": {"a": 1}},
        {"subject": ""},
        {"subject": "a\u001b[2K"},
        {"revision": ["x"]},
        {"evidence_entry": True},
        {"evidence_entry": 2.5},
        {"evidence_entry": "2"},
        {"evidence_entry": -1},
        {"created": 5},
        {"created": "2026-11-21"},
        {"created": "2026-11-21T00:00:00"},
        {"created": "0001-01-01T00:00:00+23:59"},
        {"more": 1},
    ],
    ids=str,
)
def test_claims_of_another_form(forge, predicate):
    """Types are not bent until they fit: a claim is read in its one form or refused."""
    with pytest.raises(PackInvalidError):
        Pack.verify(forge.signed(predicate=predicate), forge.trust())


@pytest.mark.parametrize(
    "subject",
    [
        lambda listed: [*listed, listed[0]],
        lambda listed: [{"name": listed[-1]["name"], "digest": {"sha256": "0" * 64}}, *listed],
        lambda listed: listed[::-1],
        lambda listed: listed[1:],
        lambda _: [{"name": [], "digest": {"sha256": "x"}}],
        lambda _: [{"name": 5, "digest": {"sha256": "x"}}],
        lambda _: [],
    ],
    ids=["twice", "twice-other", "order", "missing", "list", "number", "none"],
)
def test_lists_of_members_of_another_form(forge, subject):
    """A statement names each member once, in order, and nothing else."""
    with pytest.raises(PackAlteredError, match="not those that were signed"):
        Pack.verify(forge.signed(subject=subject), forge.trust())


def test_signatures_that_anybody_can_add(forge):
    """A pack holds the signatures that were made, and no other; without a key nobody can change a bit of it."""
    envelope = Envelope.from_bytes(forge.members[STATEMENT])
    for added in (("approved by everybody", b"x"), (PrivateKey.generate().public.key_id, b""), envelope.signatures[0]):
        more = Envelope(envelope.payload_type, envelope.payload, (*envelope.signatures, added))
        path = forge.write({**forge.members, STATEMENT: more.to_bytes()})
        with pytest.raises(PackAlteredError, match="signature"):
            Pack.verify(path, forge.trust())


def entries_of(forge):
    """The lines of the pack's entries."""
    return forge.members[ENTRIES].split(b"\n")[:-1]


def test_entries_are_exactly_those_that_are_proved(forge):
    """Nothing stands behind, between or beside the proved entries."""
    one, two, three = entries_of(forge)
    (first, *_) = sorted(name for name in forge.members if name.endswith(".tlog-proof"))
    spoilt = {
        "junk behind": {ENTRIES: forge.members[ENTRIES] + b"junk"},
        "no newline": {ENTRIES: forge.members[ENTRIES][:-1]},
        "an empty line": {ENTRIES: forge.members[ENTRIES] + b"\n"},
        "a line twice": {ENTRIES: b"\n".join((one, one, two, three, b""))},
        "an entry twice": {
            ENTRIES: b"\n".join((one, one, two, three, b"")),
            "ledger/0.tlog-proof": forge.members[first],
        },
        "another order": {ENTRIES: b"\n".join((two, one, three, b""))},
        "beside the proofs": {"ledger/approval.json": b"{}"},
        "a proof among the evidence": {"approvals/x.tlog-proof": b""},
        "not a proof": {first: b"\xff"},
    }
    for name, changed in spoilt.items():
        with pytest.raises(UserError) as caught:
            Pack.verify(forge.signed({**forge.members, **changed}), forge.trust())
        assert caught.value.code in {"evidence.pack_altered", "ledger.proof_invalid"}, name


@pytest.mark.parametrize("raw", [b"[]", b"5", b"{}", b"null", b'{"type":5}', b'{"type":"a.b","time":"x"}', b'{"a":'])
def test_entries_that_are_no_entries(forge, raw):
    """Even proved by the ledger's own key, what is not an entry is refused by name."""
    note = Checkpoint("companyos.local/log", 1, leaf_hash(raw)).sign(forge.ledger)
    members = {name: data for name, data in forge.members.items() if not name.startswith("ledger/")}
    members |= {CHECKPOINT: note, ENTRIES: raw + b"\n"}
    members["ledger/0000000000.tlog-proof"] = Proof(0, (), note).to_text().encode()
    with pytest.raises(PackAlteredError, match="malformed"):
        Pack.verify(forge.signed(members, predicate={"evidence_entry": 0}), forge.trust())
