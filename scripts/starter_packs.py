"""Write the objectives and the dashboard of the golden templates from the starter packs: `starter_packs.py --write`.

A template holds what the packs give for a service, with the questionnaire's answers in place of its name: a service
begins with the objectives and panels that the packs are tested with. `--check` says whether they drifted.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from companyos.observability.dashboards import starter_pack, to_json
from companyos.observability.slo.kits import render

ROOT = Path(__file__).resolve().parent.parent
NAME, TEAM = "project-name-placeholder", "owner-team-placeholder"
ANSWERS = {NAME: "{{ project_name }}", TEAM: "{{ owner_team }}"}
"""Words that no pack uses by itself, and the answers that stand in their place."""
_BRACES = re.compile(r"\{\{.*?\}\}")


def main(arguments: list[str]) -> int:
    """Write the files, or with `--check` exit with 1 if one is not what would be written."""
    if arguments not in (["--write"], ["--check"]):
        print("usage: starter_packs.py --write|--check", file=sys.stderr)
        return 2
    stale = {path: text for path, text in files().items() if not path.is_file() or path.read_text() != text}
    for path, text in stale.items():
        if arguments == ["--write"]:
            path.write_text(text)
        print(f"{path.relative_to(ROOT)}: {'written' if arguments == ['--write'] else 'not what the packs give'}")
    return 1 if stale and arguments == ["--check"] else 0


def files() -> dict[Path, str]:
    """Every generated file of the templates, with its text."""
    place = ROOT / "templates" / "api" / "observability"
    # The service of the template calls its database and no other service.
    pack = starter_pack("api", NAME, dependencies=("database",), tags=(TEAM,))
    return {
        place / "dashboard.json.jinja": template(to_json(pack)),
        place / "slo.yaml.jinja": template(render("api", NAME)),
    }


def template(text: str) -> str:
    """The text as a template: its own double braces kept as they are, the placeholders filled by the answers."""
    kept = _BRACES.sub(lambda found: f"{{% raw %}}{found[0]}{{% endraw %}}", text)
    for placeholder, answer in ANSWERS.items():
        kept = kept.replace(placeholder, answer)
    return kept


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
