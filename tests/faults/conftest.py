from __future__ import annotations

from secrets import randbits

import pytest

STORM_REPORT = pytest.StashKey[str]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("faults")
    group.addoption("--storm-seed", type=int, default=randbits(32), help="the order of the faults")
    group.addoption(
        "--storm-requests",
        type=int,
        default=0,
        help="how many shall reach the API, at least; by default each fault comes once",
    )


def pytest_report_header(config: pytest.Config) -> str:
    return f"storm: --storm-seed {config.getoption('--storm-seed')}"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if report := config.stash.get(STORM_REPORT, None):
        terminalreporter.section("storm")
        terminalreporter.line(report)
