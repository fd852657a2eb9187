"""Run the benchmarks: python benchmarks/run.py [--quick] DIRECTORY

Writes benchmarks.txt and benchmarks.svg there. Bounds that are missed are shown as missed; that means something on a
machine with nothing else to do, and nothing with --quick.
"""

from __future__ import annotations

import argparse
import os
import platform
from importlib.metadata import version
from pathlib import Path

from measures import measure_all
from report import picture, table
from servers import running

LIBRARIES = ("requests", "urllib3", "requests-oauthlib", "oauthlib", "httpx")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="two rounds, to see that it works")
    parser.add_argument("directory", type=Path)
    options = parser.parse_args()
    rounds = 2 if options.quick else 20
    load = os.getloadavg()[0]
    with running() as service:
        figures = measure_all(service, rounds)
    made = f"Medians of {rounds} rounds ({rounds * 10} of warm requests), no timeouts, {conditions()}, load {load:.1f}."
    lines = [*table(figures), "", made]
    for name, content in {"benchmarks.txt": lines, "benchmarks.svg": picture(figures)}.items():
        (options.directory / name).write_text("\n".join(content) + "\n", encoding="utf-8")
    print(*lines, sep="\n")


def conditions() -> str:
    libraries = ", ".join(f"{name} {version(name)}" for name in LIBRARIES)
    return f"with Python {platform.python_version()}, {libraries}, on {os.cpu_count()} cores of {platform.system()}"


if __name__ == "__main__":
    main()
