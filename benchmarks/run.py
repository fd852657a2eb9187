"""Run the benchmarks: python benchmarks/run.py [--quick] [--only PART] [--output DIRECTORY] [--update]

Writes the raw figures, and tables and pictures made from them. The table says which bounds are missed, which means
something on a quiet machine only, and nothing with --quick.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import expiries
import on_a_token
import processes
import report
from servers import Nginx, Remote, running
from table import of_any

PAGE = Path("docs/explanation/benchmarks")
LIBRARIES = (
    "requests", "urllib3", "requests-oauthlib", "oauthlib", "httpx", "authlib", "requests-oauth2client",
    "requests-auth", "google-auth", "databricks-sdk", "shapeshifter-uftp",
)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one round of everything: to see that it works")
    parser.add_argument("--only", choices=PARTS, help="measure this part")
    parser.add_argument("--output", type=Path, help="where everything goes; a temporary folder by default")
    parser.add_argument("--update", action="store_true", help=f"write tables and pictures to {PAGE}, too")
    options = parser.parse_args()
    if options.update and (options.quick or options.only):
        parser.error("--update takes a whole run")
    output = options.output or Path(tempfile.mkdtemp(prefix="gopacs-session-benchmarks-"))
    output.mkdir(parents=True, exist_ok=True)
    recorded: dict[str, Any] = {"machine": machine(), "figures": {}}
    with running() as (nginx, remote):
        for name in [options.only] if options.only else PARTS:
            recorded["figures"] |= PARTS[name](nginx, remote, options.quick)
        recorded["machine"]["nginx"] = nginx.version
    if busy := recorded["figures"].get("nginx busy"):
        recorded["machine"]["nginx"] += f", busy for {max(map(of_any, busy.values())):.0f} % of the time at most"
    figures = output / "figures.json"
    figures.write_text(json.dumps(recorded, indent=1) + "\n", encoding="utf-8")
    for directory in [output, PAGE] if options.update else [output]:
        report.write(figures, directory)
    print(f"All of it is in {output}")


# -- the parts: raw figures by measure, case and contender -----------------------------------------------------------


def cpu(nginx: Nginx, _: Remote, quick: bool) -> dict[str, Any]:
    return {"CPU for a request, no network": {count(n): on_a_token.cpu(nginx, rounds(quick), n) for n in (1, 64)}}


def throughput(nginx: Nginx, _: Remote, quick: bool) -> dict[str, Any]:
    cases = {count(n): on_a_token.throughput(nginx, rounds(quick, some), n) for n, some in ((1, 20), (64, 7))}
    measures = "Requests per second, TLS to nginx", "CPU for a request, TLS to nginx", "nginx busy"
    return {measure: {case: of[n] for case, of in cases.items()} for n, measure in enumerate(measures)}


def burst(nginx: Nginx, _: Remote, quick: bool) -> dict[str, Any]:
    return {"Cold burst": {count(n): on_a_token.cold_burst(nginx, rounds(quick), n) for n in (1, 16, 64)}}


def environment(nginx: Nginx, _: Remote, quick: bool) -> dict[str, Any]:
    return {"CPU for a request, by environment": {"": on_a_token.environment(nginx, rounds(quick), (30, 300, 1000))}}


def expiry(_: Nginx, remote: Remote, quick: bool) -> dict[str, Any]:
    some = rounds(quick, 7)  # Some contenders take many seconds.
    cases = {count(n): expiries.under_threads(remote, some, n, all_of_them=n == 32) for n in (32, 128)}
    measures = "Token requests at an expiry", "Without a good token at an expiry", "Slowest request at an expiry"
    return {measure: {case: of[n] for case, of in cases.items()} for n, measure in enumerate(measures)}


def start(nginx: Nginx, _: Remote, quick: bool) -> dict[str, Any]:
    return {
        "First request of a program": {"": processes.first_request(nginx, rounds(quick))},
        "First request after an idle hour": {"": expiries.after_an_idle_hour(nginx, rounds(quick))},
        "Time to start Python and import": {"": processes.imports(nginx, rounds(quick))},
        "Time to get a token on the command line": {"": processes.token_command(nginx, rounds(quick))},
    }


def memory(nginx: Nginx, _: Remote, quick: bool) -> dict[str, Any]:
    few = rounds(quick, 3)
    cases = {
        "not connected": processes.memory(nginx, few, 100 if quick else 10_000, processes.unconnected),
        "with a connection": processes.memory(nginx, few, 10 if quick else 200, processes.connected),
    }
    return {"Memory of a session": cases}


PARTS = {part.__name__: part for part in (cpu, throughput, burst, environment, expiry, start, memory)}


def rounds(quick: bool, whole: int = 20) -> int:
    return 1 if quick else whole


def count(threads: int) -> str:
    return f"{threads} thread{'s' * (threads > 1)}"


def machine() -> dict[str, str]:
    """What the figures were taken on, and with."""
    cpu = next(line for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines() if line.startswith("model name"))
    return {
        "machine": f"{os.cpu_count()} cores of a shared {cpu.partition(': ')[2]}, {platform.system()}",
        "load when it began": f"{os.getloadavg()[0]:.2f}",
        "environment variables": str(len(os.environ)),
        "Python": platform.python_version(),
        **{name: version(name) for name in LIBRARIES},
    }


if __name__ == "__main__":
    main()
