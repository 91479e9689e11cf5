"""Runs the code of one Markdown page in the current directory: `python run_page.py PAGE`.

- A block tagged `python` runs; all of a page share one namespace.
- A block tagged `console` or `sh` whose first line begins with `$ companyos` (assignments may come before it) runs
  line by line; each line that begins with `$ ` must exit with 0, or with N where it ends in `# exit N`. Other lines are
  output and are not compared.
- Anything else does not run.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import traceback
from pathlib import Path

FENCE = re.compile(r"^```(?P<tag>[^\n]*)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"\$ (?:\w+=\S* )*companyos ")
EXIT = re.compile(r"\s# exit (\d+)$")


def main(page: Path) -> int:
    """Run the page; 1 at the first block that does not do what it says."""
    text = page.read_text(encoding="utf-8")
    namespace: dict[str, object] = {"__name__": "__main__"}
    for fence in FENCE.finditer(text):
        line = text.count("\n", 0, fence.start("body")) + 1
        tag, body = fence["tag"].strip(), fence["body"]
        held = True
        if tag == "python":
            held = run_python(f"{page.name}", body, line, namespace)
        elif tag in {"console", "sh"} and COMMAND.match(body):
            held = run_console(body, f"{page.name}:{line}")
        if not held:
            return 1
    return 0


def run_python(name: str, body: str, line: int, namespace: dict[str, object]) -> bool:
    """Run one block, with line numbers of the page in its traceback."""
    try:
        exec(compile("\n" * (line - 1) + body, name, "exec", dont_inherit=True), namespace)  # noqa: S102 - our own pages
    except BaseException:  # noqa: BLE001 - shown, and the page fails
        print(f"{name}:{line}: this block does not run", file=sys.stderr)
        traceback.print_exc()
        return False
    return True


def run_console(body: str, place: str) -> bool:
    """Run the commands of one block."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    for line in body.splitlines():
        if not line.startswith("$ "):
            continue
        wanted = EXIT.search(line)
        expected = int(wanted[1]) if wanted else 0
        result = subprocess.run(
            ["bash", "-c", line[2:]], env=os.environ | {"PATH": path}, capture_output=True, text=True, check=False
        )
        if result.returncode != expected:
            print(f"{place}: {line}\nexit {result.returncode}, expected {expected}", file=sys.stderr)
            print(result.stdout + result.stderr, file=sys.stderr)
            return False
    return True


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
