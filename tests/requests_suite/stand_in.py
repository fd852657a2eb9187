"""A pytest plugin that runs anybody's tests of requests, with a GopacsSession for each ``requests.Session`` if asked.

``pytest -p stand_in --session gopacs --outcomes FILE`` notes in FILE, as JSON, how many sessions the tests made in its
place, and what became of each test.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import requests

from gopacs_session import GopacsSession

WORST = ("passed", "skipped", "failed")

outcomes: dict[str, str] = {}


class Gopacs(GopacsSession):
    """Made without arguments, as ``requests.Session`` is."""

    made = 0

    def __init__(self) -> None:
        super().__init__("trader", "s3cret")
        Gopacs.made += 1


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--session", choices=["plain", "gopacs"], required=True, help="what requests.Session is")
    parser.addoption("--outcomes", type=Path, required=True, help="the file to write")


def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    # Before any module of the tests can have bound the name.
    if early_config.known_args_namespace.session == "gopacs":
        requests.Session = requests.sessions.Session = Gopacs  # type: ignore[misc]


def pytest_collectreport(report: pytest.CollectReport) -> None:
    if report.failed:
        outcomes[report.nodeid] = "failed"


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    known = outcomes.get(report.nodeid, "passed")
    outcomes[report.nodeid] = max(known, report.outcome, key=WORST.index)


def pytest_sessionfinish(session: pytest.Session) -> None:
    notes = {"sessions": Gopacs.made, "outcomes": outcomes}
    session.config.getoption("outcomes").write_text(json.dumps(notes), encoding="utf-8")
