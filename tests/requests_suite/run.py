"""Run requests' own tests with plain requests and with a GopacsSession in its place, and compare them test by test.

``python run.py DIRECTORY`` keeps the source distribution of the installed requests in DIRECTORY. It fails if any test
that passes with plain requests does not pass with a GopacsSession.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

# They aim at 10.255.255.1, and expect a network that lets them wait for it.
OUTSIDE_THE_MACHINE = ("test_connect_timeout", "test_total_timeout_connect")
LONGEST_RUN = 900  # seconds; it takes about 90


def unpacked_sdist(directory: Path, destination: Path) -> Path:
    """The unpacked source distribution of the installed requests, which is downloaded once."""
    requirement = f"requests=={version('requests')}"
    archive = directory / f"{requirement.replace('==', '-')}.tar.gz"
    if not archive.exists():
        options = ["--quiet", "--disable-pip-version-check", "--no-deps", "--no-binary", "requests"]
        command = [sys.executable, "-m", "pip", "download", *options, "--dest", str(directory), requirement]
        subprocess.run(command, check=True)
    with tarfile.open(archive) as files:
        files.extractall(destination, filter="data")
    return destination / archive.name.removesuffix(".tar.gz")


def run_tests(session: str, sources: Path, scratch: Path) -> dict[str, Any]:
    """What :mod:`stand_in` noted on one run, and pytest's own output."""
    notes, home = scratch / f"{session}.json", scratch / session
    home.mkdir()
    # Nothing of the user's: no CA bundle, proxy, netrc, or PYTEST_ADDOPTS.
    environment = {name: os.environ[name] for name in ("PATH", "SYSTEMROOT") if name in os.environ}
    environment.update(dict.fromkeys(("HOME", "USERPROFILE", "TMPDIR", "TEMP", "TMP"), str(home)))
    environment.update(PYTHONPATH=str(Path(__file__).parent), PYTHONDONTWRITEBYTECODE="1")
    # The suite's own settings, if it has any, or pytest would look further up, and find ours.
    settings = sources / "pyproject.toml"
    settings.touch()
    command = [sys.executable, "-m", "pytest", "-c", str(settings), "-p", "no:cacheprovider"]
    command += ["-p", "stand_in", "--session", session, "--outcomes", str(notes)]
    command += [f"--deselect=tests/test_requests.py::TestTimeout::{name}" for name in OUTSIDE_THE_MACHINE]
    done = subprocess.run(
        [*command, "tests"], cwd=sources, env=environment, capture_output=True, text=True, timeout=LONGEST_RUN
    )
    if not notes.exists():
        sys.exit(f"{done.stdout}{done.stderr}\npytest broke off with {session}.")
    return {"output": done.stdout + done.stderr, **json.loads(notes.read_text(encoding="utf-8"))}


def figures(run: dict[str, Any]) -> str:
    outcomes = list(run["outcomes"].values())
    counts = ", ".join(f"{outcomes.count(outcome)} {outcome}" for outcome in ("passed", "failed", "skipped"))
    return f"{counts}; {run['sessions']} sessions stood in"


def main() -> int:
    directory = Path(sys.argv[1])
    directory.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory() as scratch, ThreadPoolExecutor() as pool:
        sources = unpacked_sdist(directory, Path(scratch))
        # Side by side: they mostly wait.
        runs = [pool.submit(run_tests, session, sources, Path(scratch)) for session in ("plain", "gopacs")]
        plain, gopacs = (run.result() for run in runs)

    passed = [test for test, outcome in plain["outcomes"].items() if outcome == "passed"]
    lost = [test for test in passed if gopacs["outcomes"].get(test) != "passed"]
    if lost:
        print(gopacs["output"])
    print(f"The tests of requests {version('requests')} on Python {sys.version.split()[0]}:")
    print(f"  plain   {figures(plain)}")
    print(f"  gopacs  {figures(gopacs)}")
    for test in lost:
        print(f"  lost with gopacs: {test}")
    print(f"{len(passed) - len(lost)} passed, {len(lost)} failed")
    return int(bool(lost) or not passed or not gopacs["sessions"])


if __name__ == "__main__":
    sys.exit(main())
