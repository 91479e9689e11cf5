"""`slo compile` of 1,000 SLOs, from the bytes of OpenSLO files to those of the rules, beside writing the same YAML.

The rival only writes what was compiled already, with PyYAML: its C emitter is the base of the bar, its Python one is
shown for orientation. Run `python benchmarks/bench_slo.py [--rounds N] [--gate]`; `--gate` exits with 1 where the bar
is missed, and at any time it exits with 1 where the same input did not give the same bytes.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.interleaved import Bar, measure, report
from companyos.observability.slo import compile_rules, read
from companyos.observability.slo.kits import render

if TYPE_CHECKING:
    from collections.abc import Callable

SERVICES = 500
"""An API has two SLOs."""
COMPILE, DUMP, PURE = "slo compile, 1,000 SLOs", "yaml.CSafeDumper, the same rules", "yaml.SafeDumper, a tenth, x 10"


def timed(work: Callable[[], Any], factor: float = 1.0) -> Callable[[], float]:
    """Seconds that `work` takes, times a factor."""

    def run() -> float:
        began = time.perf_counter()
        work()
        return (time.perf_counter() - began) * factor

    return run


def main() -> int:
    """Measure and report; 1 if the output is not the same twice, or the bar is missed and `--gate` was given."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--gate", action="store_true")
    arguments = parser.parse_args()
    files = {f"{number}.yaml": render("api", f"service-{number}").encode() for number in range(SERVICES)}
    rules = compile_rules(read(files))
    content = rules.to_dict()
    tenth = {"groups": content["groups"][: len(content["groups"]) // 10]}
    text = rules.to_yaml()
    stable = (
        text == compile_rules(read(dict(reversed(files.items())))).to_yaml()
        and yaml.load(
            text,
            Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader),  # noqa: S506 - a safe loader
        )
        == content
    )
    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    seconds = measure(
        {
            COMPILE: timed(lambda: compile_rules(read(files)).to_yaml()),
            DUMP: timed(lambda: yaml.dump(content, Dumper=dumper, sort_keys=False)),
            PURE: timed(lambda: yaml.dump(tenth, Dumper=yaml.SafeDumper, sort_keys=False), 10.0),
        },
        rounds=arguments.rounds,
    )
    missed = report(
        "slo", seconds, [Bar(COMPILE, DUMP, at_most=3.0)], slos=len(rules.slo_ids), bytes=len(text), stable=stable
    )
    print(f"{len(rules.slo_ids)} SLOs, {len(text) / 1e6:.1f} MB of rules, byte-stable: {stable}")
    return 0 if stable and not (missed and arguments.gate) else 1


if __name__ == "__main__":
    sys.exit(main())
