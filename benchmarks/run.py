"""Run the benchmarks: python benchmarks/run.py [--quick] [--output DIRECTORY]

Writes the raw figures as JSON, and a table and a picture of each measure made from them. Fails if a bound is missed,
which says something on a quiet machine only, and nothing with --quick.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
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


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few rounds: to see that it works")
    parser.add_argument("--output", type=Path, default=Path("docs/benchmarks"), help="where the figures go")
    options = parser.parse_args()
    load = os.getloadavg()[0]
    with running() as remote:
        os.environ["REQUESTS_CA_BUNDLE"] = remote.ca_file
        figures = measure(remote, options.quick)
    options.output.mkdir(parents=True, exist_ok=True)
    recorded = {"machine": machine(load), "figures": figures}
    (options.output / "figures.json").write_text(json.dumps(recorded, indent=1) + "\n", encoding="utf-8")
    missed = report.write(options.output)
    return 0 if options.quick else missed


def measure(remote: Remote, quick: bool) -> dict[str, Any]:
    """Raw figures by measure, case and contender."""
    rounds = 2 if quick else 30
    cpu = {count(n): requests_on_a_token.cpu(remote, rounds, n) for n in (1, 64)}
    throughput = {count(n): requests_on_a_token.throughput(remote, rounds, n) for n in (1, 4, 16, 64)}
    bursts = {1: 2, 8: 2} if quick else {1: 9, 8: 9, 32: 9, 128: 3}  # Some take half a minute for a burst of 128.
    expiry = {count(n): expiries.at_an_expiry(remote, times, n) for n, times in bursts.items()}
    memory, threads_left = lives.memory(100 if quick else 10_000, 1 if quick else 3)
    return {
        "cpu": cpu,
        "throughput": throughput,
        "token-requests": {case: of.token_requests for case, of in expiry.items()},
        "refused": {case: of.refused for case, of in expiry.items()},
        "slowest": {case: of.slowest for case, of in expiry.items()},
        "import": {"": processes.imports(remote, rounds)},
        "token-command": {"": processes.token_command(remote, rounds)},
        "memory": {"": memory},
        "threads-left": {"": {OURS: threads_left}},
        "life": {
            "whole requests for a day": lives.whole_requests(0.01 if quick else 1),
            "headers only, for 30 days": lives.headers_only(0.1 if quick else 30),
        },
    }


def count(threads: int) -> str:
    return f"{threads} thread{'s' * (threads > 1)}"


def machine(load: float) -> dict[str, str]:
    """What the figures were taken on, and with."""
    cpu = next(line for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines() if line.startswith("model name"))
    return {
        "machine": f"{os.cpu_count()} cores of a shared {cpu.partition(': ')[2]}, {platform.system()}",
        "load when it began": f"{load:.2f}",
        "Python": platform.python_version(),
        **{name: version(name) for name in LIBRARIES},
    }


if __name__ == "__main__":
    sys.exit(main())
