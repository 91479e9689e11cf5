"""Step 6: the evidence is packed and signed, verified by a stranger, and no tampering passes."""

from __future__ import annotations

import random
import shutil
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

from companyos.cli.demo.stage import require_that
from companyos.supplychain import create_sbom

if TYPE_CHECKING:
    from pathlib import Path

    from companyos.cli.demo.stage import Stage

__all__ = ("build_pack", "tamper", "verify_pack")

COPIES = 3


def build_pack(stage: Stage) -> str:
    """Make the bill of materials, and pack all evidence into one signed file."""
    sbom = stage.reports / "orders.cdx.json"
    sbom.write_bytes(create_sbom(stage.service / "requirements.lock", name="orders", version="0.1.0"))
    revision = stage.run("revision", "git", "rev-parse", "HEAD").strip()
    pack = stage.service / "build" / "orders.cpack"
    evidence = {
        "--tests": ("tests.xml", "smoke.xml"),
        "--findings": ("findings.sarif",),
        "--sbom": (sbom.name,),
        "--cost": ("cost-gate.json", "cost-note.md"),
    }
    files = [
        word for option, names in evidence.items() for name in names for word in (option, str(stage.reports / name))
    ]
    report = stage.companyos_json(
        "pack-build", "pack", "build", "--out", str(pack), "--subject", "orders", "--revision", revision, *files
    )
    stage.look_at["evidence pack"] = pack
    components = report["summary"]["sbom"]["components"]
    return f"{pack.stat().st_size // 1024} KiB: {len(report['entries'])} proved ledger entries, {components} components"


def verify_pack(stage: Stage) -> str:
    """Verify pack and ledger in processes that have nothing but the files and the public keys."""
    stranger = _stranger(stage)
    stage.companyos("pack-verify", "pack", "verify", "orders.cpack", "--trust", "trust.yaml", cwd=stranger)
    url = f"sqlite:///{stranger / 'ledger.db'}"
    checked = ("--url", url, "--key", "ledger.vkey", "--against", "anchor")
    ledger = stage.companyos_json("ledger-verify", "ledger", "verify", *checked, cwd=stranger)
    require_that(ledger["anchored"], "the ledger was not held against the anchor", got=ledger)
    stage.look_at["what a stranger needs"] = stranger
    return f"pack verified; ledger of {ledger['size']} entries verified against an anchor"


def tamper(stage: Stage) -> str:
    """Tamper with copies of pack and ledger at random places: every copy is caught."""
    seed = random.SystemRandom().randrange(1 << 32)
    stage.say(f"   seed {seed}")
    chance = random.Random(seed)  # noqa: S311 - chooses places to tamper with, so that a seed repeats them
    stranger = stage.root / "stranger"
    for number in range(COPIES):
        copy = stranger / f"tampered-{number}.cpack"
        data = bytearray((stranger / "orders.cpack").read_bytes())
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        copy.write_bytes(data)
        name = f"pack-tampered-{number}"
        stage.companyos(name, "pack", "verify", copy.name, "--trust", "trust.yaml", cwd=stranger, expect=1)
    damages = []
    for number in range(COPIES):
        copy = stranger / f"tampered-{number}.db"
        index = _alter_entry(stranger / "ledger.db", copy, chance)
        name = f"ledger-tampered-{number}"
        url = f"sqlite:///{copy}"
        stage.companyos(name, "ledger", "verify", "--url", url, "--key", "ledger.vkey", cwd=stranger, expect=1)
        said = (stage.root / "logs" / f"{name}.log").read_text(encoding="utf-8")
        require_that(f"first bad index {index})" in said, f"the damage at {index} was not named", got=said)
        damages.append(index)
    return f"{COPIES} of {COPIES} packs and {COPIES} of {COPIES} ledgers caught, at entries {damages}; seed {seed}"


def _stranger(stage: Stage) -> Path:
    """A directory with the pack, a copy of the ledger and public keys: all that an outsider is given."""
    stranger = stage.root / "stranger"
    stranger.mkdir(exist_ok=True)
    shutil.copy(stage.service / "build" / "orders.cpack", stranger)
    stage.companyos("pack-trust", "pack", "trust", "--out", str(stranger / "trust.yaml"))
    stage.companyos("ledger-key", "ledger", "checkpoint", "--vkey", "--out", str(stranger / "ledger.vkey"))
    stage.companyos("ledger-anchor", "ledger", "checkpoint", "--out", str(stranger / "anchor"))
    source = stage.service / ".companyos" / "ledger.db"
    with closing(sqlite3.connect(source)) as live, closing(sqlite3.connect(stranger / "ledger.db")) as copy:
        live.backup(copy)
    return stranger


def _alter_entry(source: Path, copy: Path, chance: random.Random) -> int:
    """Change one random byte of one random entry in a copy of a ledger; return the entry's index."""
    shutil.copy(source, copy)
    with closing(sqlite3.connect(copy)) as database:
        (count,) = database.execute("SELECT count(*) FROM entry").fetchone()
        index = chance.randrange(count)
        (raw,) = database.execute("SELECT raw FROM entry WHERE idx = ?", (index,)).fetchone()
        place = chance.randrange(len(raw))
        altered = raw[:place] + bytes([raw[place] ^ (1 << chance.randrange(8))]) + raw[place + 1 :]
        database.execute("UPDATE entry SET raw = ? WHERE idx = ?", (altered, index))
        database.commit()
    return index
