"""Show what tox really ran: python ran.py RESULT.json ENVIRONMENT..., failing if one of these did not run and pass."""

import json
import sys
from pathlib import Path
from typing import Any


def state(name: str, run: dict[str, Any]) -> str:
    """What became of it: passed, or what is wrong."""
    result = run.get("result")
    if result is None or result.get("skipped"):
        return "did not run"
    if not result["success"]:
        return "failed"
    major, minor, *_ = run["python"]["version_info"]
    if name.startswith("py") and name != f"py{major}{minor}":
        return "ran on another Python"
    return "passed"


def main(report: str, *required: str) -> int:
    """Print a line for each environment; the number of the required ones that did not pass."""
    runs = json.loads(Path(report).read_text(encoding="utf-8"))["testenvs"]
    others = [name for name in runs if "result" in runs[name] and name not in required]
    for name in (*required, *others):
        python = runs.get(name, {}).get("python") or {"version": ""}
        print(f"{name:14} {state(name, runs.get(name, {})):12} {python['version'].partition(' ')[0]}")
    return sum(state(name, runs.get(name, {})) != "passed" for name in required)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
