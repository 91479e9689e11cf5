"""What starting up costs, as ratios measured side by side: `python benchmarks/bench_startup.py [--rounds N] [--gate]`.

Each round runs every case once, in an order that rotates, so that a slow phase of the machine hits all of them. A
ratio is the median over the rounds of the ratio within one round. The import is judged by what it *adds* to a bare
interpreter, against what `dataclasses, enum, typing` add: each the median over the rounds of the difference within one.
`--gate` exits with 1 where a bar is missed; judge on a quiet machine.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path

OUTPUT = Path(__file__).resolve().parent.parent / "build" / "bench" / "startup.json"
COMMAND = str(Path(sys.executable).with_name("companyos"))
CASES: dict[str, list[str]] = {
    "bare": [sys.executable, "-c", "pass"],
    "stdlib": [sys.executable, "-c", "import dataclasses, enum, typing"],
    "import": [sys.executable, "-c", "import companyos"],
    "--version": [COMMAND, "--version"],
    "--help": [COMMAND, "--help"],
}
"""Name of a case and the process that is timed, from start to end."""
BARS = {"import added / stdlib added": 1.5, "--version / bare": 3.0, "--help / bare": 12.0}
"""The most that each ratio may be."""
WARM_UP = 3


def main(arguments: list[str]) -> int:
    """Measure, print a table, write JSON; 1 if a bar is missed and `--gate` was given."""
    parser = argparse.ArgumentParser(description="What starting up costs.")
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--gate", action="store_true")
    options = parser.parse_args(arguments)
    times = measure(options.rounds)
    ratios = judge(times)
    report(times, ratios)
    missed = [name for name, bar in BARS.items() if ratios[name] > bar]
    return 1 if missed and options.gate else 0


def measure(rounds: int) -> dict[str, list[float]]:
    """Seconds of every case, one figure a round."""
    names = list(CASES)
    times: dict[str, list[float]] = {name: [] for name in names}
    for number in range(-WARM_UP, rounds):
        for step in range(len(names)):
            name = names[(number + step) % len(names)]
            seconds = run(CASES[name])
            if number >= 0:
                times[name].append(seconds)
    return times


def run(command: list[str]) -> float:
    """Seconds from start to end of one process; its output is thrown away."""
    started = time.perf_counter()
    subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - started


def judge(times: dict[str, list[float]]) -> dict[str, float]:
    """The ratios that have a bar."""
    bare = times["bare"]
    added = {name: statistics.median(a - b for a, b in zip(times[name], bare, strict=True)) for name in times}
    floor = added["stdlib"]
    return {
        "import added / stdlib added": added["import"] / floor if floor > 0 else float("inf"),
        "--version / bare": ratio(times["--version"], bare),
        "--help / bare": ratio(times["--help"], bare),
    }


def ratio(case: list[float], base: list[float]) -> float:
    """Median of the ratios of each round."""
    return statistics.median(a / b for a, b in zip(case, base, strict=True))


def report(times: dict[str, list[float]], ratios: dict[str, float]) -> None:
    """Print both tables and write the raw figures."""
    print(f"{'case':12}  {'median ms':>9}  {'min ms':>7}")
    for name, values in times.items():
        print(f"{name:12}  {statistics.median(values) * 1000:9.1f}  {min(values) * 1000:7.1f}")
    print(f"\n{'ratio':30}  {'measured':>8}  {'bar':>5}")
    for name, bar in BARS.items():
        print(f"{name:30}  {ratios[name]:8.2f}  {bar:5.1f}  {'ok' if ratios[name] <= bar else 'MISSED'}")
    machine = {"python": sys.version.split()[0], "system": platform.platform(), "cores": os.cpu_count()}
    figures = {"machine": machine, "load": os.getloadavg()[0], "bars": BARS, "ratios": ratios, "seconds": times}
    OUTPUT.parent.mkdir(parents=True, exist_ok=True)
    OUTPUT.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
