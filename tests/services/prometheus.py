"""A real Prometheus for tests, with targets, rules or a history of its own; and `promtool`."""

from __future__ import annotations

import json
import subprocess
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from tests.services.process import ServerProcess, fresh_folder

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from tests.services.system import SystemPackages

__all__ = ("Programs", "Prometheus", "find")


@dataclass(frozen=True, slots=True)
class Programs:
    """Where the two programs are."""

    prometheus: Path
    """The server."""
    promtool: Path
    """The tool that checks rules, tests them and makes blocks."""


def find(system: SystemPackages) -> Programs:
    """Those of the system's package, if that is allowed.

    Raises:
        NotAvailableError: they are not there.
    """
    return Programs(*(system.program(name, package="prometheus") for name in ("prometheus", "promtool")))


class Prometheus:
    """A running server that scrapes and evaluates every second.

    `targets` are addresses (`host:port`) by name of the job, `rules` the text of a rule file, `history` the lines of an
    OpenMetrics text whose samples are there from the beginning.
    """

    def __init__(
        self,
        programs: Programs,
        *,
        targets: Mapping[str, Sequence[str]] | None = None,
        rules: str = "",
        history: Iterable[str] = (),
    ) -> None:
        self.process = ServerProcess("prometheus", fresh_folder("prometheus"))
        self.port = 0
        self._programs = programs
        try:
            self._configure(targets or {}, rules)
            if history:
                self._backfill(history)
            self._serve()
        except BaseException:
            self.process.stop()
            raise

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.port}"

    def add(self, history: Iterable[str]) -> None:
        """Let it remember more of the past; it starts anew."""
        # A running server compacts blocks away while promtool looks at them.
        self.process.stop(keep=True)
        self._backfill(history)
        self._serve()

    def stop(self) -> None:
        """Stop the server and remove its folder."""
        self.process.stop()

    def _configure(self, targets: Mapping[str, Sequence[str]], rules: str) -> None:
        folder = self.process.folder
        (folder / "rules.yml").write_text(rules or "groups: []\n", encoding="utf-8")
        configuration = {
            "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(folder / "rules.yml")],
            "scrape_configs": [
                {"job_name": job, "static_configs": [{"targets": list(places)}]} for job, places in targets.items()
            ],
        }
        # JSON is YAML.
        (folder / "prometheus.yml").write_text(json.dumps(configuration), encoding="utf-8")

    def _serve(self) -> None:
        self.process.serve(self, self._command, self._ready, taken="address already in use")

    def _backfill(self, history: Iterable[str]) -> None:
        """Make blocks day by day: promtool reads its whole input again for every two hours of it."""
        for source in _by_day(history, self.process.folder):
            command = [self._programs.promtool, "tsdb", "create-blocks-from", "openmetrics", source]
            done = subprocess.run(
                [*map(str, command), str(self.process.folder / "data")], capture_output=True, text=True, check=False
            )
            source.unlink()
            if done.returncode:
                raise RuntimeError(f"promtool took no history: {done.stderr.strip()[-500:]}")

    def _command(self) -> list[str | Path]:
        folder = self.process.folder
        return [
            self._programs.prometheus,
            f"--config.file={folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={folder / 'data'}",
            "--storage.tsdb.retention.time=400d",
            "--enable-feature=exemplar-storage",
            f"--web.listen-address=127.0.0.1:{self.port}",
            "--log.level=warn",
        ]

    def _ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/-/ready", timeout=2) as answer:  # noqa: S310 - our own server
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False


def _by_day(history: Iterable[str], folder: Path) -> list[Path]:
    """The same samples in one file a day, each a whole exposition."""
    files: dict[int, TextIO] = {}
    headed: dict[int, str] = {}
    head = ""
    try:
        for line in history:
            if line.startswith("#"):
                head = line
                continue
            day = int(line.rpartition(" ")[2]) // 86400
            if day not in files:
                files[day] = (folder / f"history-{day}.om").open("w", encoding="utf-8")
            if headed.get(day) != head:
                headed[day] = head
                files[day].write(head)
            files[day].write(line)
        for file in files.values():
            file.write("# EOF\n")
    finally:
        for file in files.values():
            file.close()
    return [Path(files[day].name) for day in sorted(files)]
