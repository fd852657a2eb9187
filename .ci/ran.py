"""Show what tox really ran: python ran.py RESULT.json ENVIRONMENT..., failing if one of these did not run and pass."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any


def python(name: str) -> str:
    """The version of the environment's Python; asked of itself, since tox-uv only reports the one asked for."""
    program = Path(".tox", name, "bin", "python")
    return subprocess.check_output([program, "-c", "import platform; print(platform.python_version())"], text=True)


def state(name: str, run: dict[str, Any]) -> str:
    """What became of it: passed, or what is wrong."""
    result = run.get("result")
    if result is None or result.get("skipped"):
        return "did not run"
    if not result["success"]:
        return "failed"
    if (numbered := re.fullmatch(r"py3(\d+)", name)) and not python(name).startswith(f"3.{numbered[1]}."):
        return "ran on another Python"
    return "passed"


def main(report: str, *required: str) -> int:
    """Print a line for each environment; the number of the required ones that did not pass."""
    runs = json.loads(Path(report).read_text(encoding="utf-8"))["testenvs"]
    others = [name for name in runs if runs[name].get("result") and name not in required]
    states = {name: state(name, runs.get(name, {})) for name in (*required, *others)}
    for name, became in states.items():
        print(f"{name:14} {became:12} {'' if became == 'did not run' else python(name).strip()}")
    return sum(states[name] != "passed" for name in required)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
