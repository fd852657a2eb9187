from __future__ import annotations

from secrets import randbits

import pytest

STORM_REPORT = pytest.StashKey[str]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("faults")
    group.addoption("--storm-seed", type=int, default=randbits(32), help="what strikes when")
    group.addoption("--storm-seconds", type=float, default=20, help="how long the storm lasts")


def pytest_report_header(config: pytest.Config) -> str:
    return f"storm: --storm-seed {config.getoption('--storm-seed')}"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if report := config.stash.get(STORM_REPORT, None):
        terminalreporter.section("storm")
        terminalreporter.line(report)
