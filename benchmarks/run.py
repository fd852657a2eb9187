"""Run the benchmarks: python benchmarks/run.py [--quick] [--output DIRECTORY]

Writes the raw figures as JSON, and a table and a picture of each measure made from them. The table says which bounds
are missed, which means something on a quiet machine only, and nothing with --quick.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

import expiries
import lives
import processes
import report
import requests_on_a_token
from server import Remote, running
from table import OURS

LIBRARIES = (
    "requests", "urllib3", "requests-oauthlib", "oauthlib", "authlib", "requests-oauth2client", "requests-auth",
    "google-auth", "databricks-sdk", "shapeshifter-uftp",
)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few rounds: to see that it works")
    parser.add_argument("--only", choices=PARTS, help="measure this part, and keep the figures of the others")
    parser.add_argument("--output", type=Path, default=Path("docs/benchmarks"), help="where the figures go")
    options = parser.parse_args()
    path = options.output / "figures.json"
    recorded = json.loads(path.read_text(encoding="utf-8")) if options.only else {"machine": {}, "figures": {}}
    recorded["machine"] = machine()
    with running() as remote:
        os.environ["REQUESTS_CA_BUNDLE"] = remote.ca_file
        for part in [options.only] if options.only else PARTS:
            recorded["figures"] |= PARTS[part](remote, options.quick)
    options.output.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(recorded, indent=1) + "\n", encoding="utf-8")
    report.write(options.output)


# -- the parts: raw figures by measure, case and contender -------------------------------------------------------------


def cpu(remote: Remote, quick: bool) -> dict[str, Any]:
    return {"cpu": {count(n): requests_on_a_token.cpu(remote, rounds(quick), n) for n in (1, 64)}}


def throughput(remote: Remote, quick: bool) -> dict[str, Any]:
    cases = {count(n): requests_on_a_token.throughput(remote, rounds(quick), n) for n in (1, 4, 16, 64)}
    return {"throughput": cases}


def expiry(remote: Remote, quick: bool) -> dict[str, Any]:
    bursts = {1: 2, 8: 2} if quick else {1: 15, 8: 15, 32: 5, 128: 3}  # Some take half a minute for a burst of 128.
    cases = {count(n): expiries.at_an_expiry(remote, times, n) for n, times in bursts.items()}
    return {
        "token-requests": {case: of.token_requests for case, of in cases.items()},
        "refused": {case: of.refused for case, of in cases.items()},
        "slowest": {case: of.slowest for case, of in cases.items()},
    }


def start(remote: Remote, quick: bool) -> dict[str, Any]:
    return {
        "import": {"": processes.imports(remote, rounds(quick))},
        "token-command": {"": processes.token_command(remote, rounds(quick))},
    }


def life(remote: Remote, quick: bool) -> dict[str, Any]:
    memory, threads_left = lives.memory(100 if quick else 10_000, 1 if quick else 3)
    cases = {
        "whole requests for a day": lives.whole_requests(0.01 if quick else 1),
        "headers only, for 30 days": lives.headers_only(0.1 if quick else 30),
    }
    return {"memory": {"": memory}, "threads-left": {"": {OURS: threads_left}}, "life": cases}


PARTS = {part.__name__: part for part in (cpu, throughput, expiry, start, life)}


def rounds(quick: bool) -> int:
    return 2 if quick else 20


def count(threads: int) -> str:
    return f"{threads} thread{'s' * (threads > 1)}"


def machine() -> dict[str, str]:
    """What the figures were taken on, and with."""
    cpu = next(line for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines() if line.startswith("model name"))
    return {
        "machine": f"{os.cpu_count()} cores of a shared {cpu.partition(': ')[2]}, {platform.system()}",
        "load when it began": f"{os.getloadavg()[0]:.2f}",
        "Python": platform.python_version(),
        **{name: version(name) for name in LIBRARIES},
    }


if __name__ == "__main__":
    main()
