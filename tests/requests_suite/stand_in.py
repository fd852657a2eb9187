"""A pytest plugin that runs anybody's tests of requests with another class in the place of ``requests.Session``.

``pytest -p stand_in --session gopacs --outcomes FILE`` notes in FILE, as JSON, how many sessions the tests made and
what became of each test.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import requests
from oauthlib.oauth2 import BackendApplicationClient
from requests_oauthlib import OAuth2Session

from gopacs_session import GopacsSession

PLAIN = requests.Session
WORST = ("passed", "skipped", "failed")

sessions_made = 0
outcomes: dict[str, str] = {}


class StandIn(type):
    """Of classes that take the place of ``requests.Session``: an instance or subclass of that one is theirs as well."""

    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, PLAIN) if cls in STAND_INS else super().__instancecheck__(instance)

    def __subclasscheck__(cls, subclass: type) -> bool:
        return issubclass(subclass, PLAIN) if cls in STAND_INS else super().__subclasscheck__(subclass)

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        global sessions_made
        sessions_made += 1
        return super().__call__(*args, **kwargs)


class Gopacs(GopacsSession, metaclass=StandIn):
    """Made without arguments, as ``requests.Session`` is."""

    def __init__(self) -> None:
        super().__init__("trader", "s3cret")


class OAuth2(OAuth2Session, metaclass=StandIn):
    """The parent, for comparison."""

    def __init__(self) -> None:
        super().__init__(client=BackendApplicationClient("trader"))


STAND_INS = (Gopacs, OAuth2)
CHOICES = {"plain": PLAIN, "gopacs": Gopacs, "oauth2": OAuth2}


def take_place(name: str) -> None:
    """Make this the class that ``requests.Session``, ``requests.session`` and ``requests.get`` use."""
    requests.Session = requests.sessions.Session = CHOICES[name]  # type: ignore[misc]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--session", choices=sorted(CHOICES), required=True, help="what requests.Session is")
    parser.addoption("--outcomes", type=Path, required=True, help="the file to write")


def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    # Before any module of the tests can have bound the name.
    take_place(early_config.known_args_namespace.session)


def pytest_collectreport(report: pytest.CollectReport) -> None:
    if report.failed:
        outcomes[report.nodeid] = "failed"


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    known = outcomes.get(report.nodeid, "passed")
    outcomes[report.nodeid] = max(known, report.outcome, key=WORST.index)


def pytest_sessionfinish(session: pytest.Session) -> None:
    notes = {"sessions": sessions_made, "outcomes": outcomes}
    session.config.getoption("outcomes").write_text(json.dumps(notes), encoding="utf-8")
