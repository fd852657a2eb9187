"""Run the benchmarks: python benchmarks/run.py [--quick] [--output DIRECTORY]

Writes the raw figures as JSON, and prints medians and ratios.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import measures
from server import Remote, running

LIBRARIES = (
    "requests", "urllib3", "requests-oauthlib", "oauthlib", "authlib", "requests-oauth2client", "requests-auth",
    "google-auth", "databricks-sdk", "shapeshifter-uftp",
)  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer rounds: to see that it works")
    parser.add_argument("--output", type=Path, default=Path("docs/benchmarks"), help="where the figures go")
    options = parser.parse_args()
    with running() as remote:
        os.environ["REQUESTS_CA_BUNDLE"] = remote.ca_file
        figures = measure(remote, options.quick)
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / "figures.json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    for line in summary(figures):
        print(line)
    return 0


def measure(remote: Remote, quick: bool) -> dict[str, Any]:
    rounds = 3 if quick else 25
    environ = {
        **os.environ,
        "GOPACS_CLIENT_ID": remote.service.client_id,
        "GOPACS_CLIENT_SECRET": remote.service.client_secret,
        "GOPACS_TOKEN_URL": remote.service.token_url,
        "GOPACS_API_DOMAINS": "localhost",
    }
    figures: dict[str, Any] = {"machine": machine()}
    figures["cpu"] = measures.cpu_per_request(remote, rounds)
    figures["cpu, 64 threads"] = measures.cpu_on_64_threads(remote, rounds)
    for threads in (1, 4, 16, 64):
        figures[f"throughput, {threads}"] = measures.throughput(remote, max(3, rounds // 2), threads)
    for threads in (1, 8, 32) if quick else (1, 8, 32, 128):
        made, refused, slowest = measures.at_an_expiry(remote, threads)
        figures[f"token requests, {threads}"] = made
        figures[f"refused, {threads}"] = refused
        figures[f"slowest, {threads}"] = slowest
    figures["stale"], figures["fresh"] = measures.on_a_stale_token(remote, 20)
    figures["import"] = measures.imports(rounds, environ)
    figures["token command"] = measures.token_command(max(3, rounds // 2), environ)
    figures["memory"], figures["threads left"] = measures.memory(1000 if quick else 10_000)
    figures["month"] = measures.simulated_month(10, 1 if quick else 30)
    return figures


def machine() -> dict[str, str]:
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        **{name: version(name) for name in LIBRARIES},
    }


def summary(figures: dict[str, Any]) -> list[str]:
    """A line for each measure: the medians, over plain requests where that is there."""
    lines = []
    for measure, by_contender in figures.items():
        if measure == "machine" or not isinstance(by_contender, dict):
            lines.append(f"{measure}: {by_contender}")
            continue
        values = {name: median(v) if isinstance(v, list) else v for name, v in by_contender.items()}
        base = values.get("plain requests") or values.get("requests_oauthlib") or values.get("bare requests")
        for name, value in values.items():
            ratio = f"  {value / base:6.3f}" if base and measure != "month" else ""
            lines.append(f"{measure:20} {name:26} {value:12.5g}{ratio}")
    return lines


if __name__ == "__main__":
    sys.exit(main())
