from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from contract import AuthorizationServer

from .admin import Admin
from .server import Keycloak, running

NEWEST = "26.7.3"

started: list[str] = []


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--keycloak", default=NEWEST, metavar="VERSION", help=f"24.0 or later; {NEWEST} by default")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("keycloak") != NEWEST:
        items[:] = [item for item in items if not item.get_closest_marker("newest_keycloak")]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for server in started:
        terminalreporter.write_line(f"Server: {server}")


@pytest.fixture(scope="session")
def keycloak(request: pytest.FixtureRequest) -> Iterator[Keycloak]:
    with (
        TemporaryDirectory(prefix="keycloak-") as home,
        running(request.config.getoption("keycloak"), Path(home)) as keycloak,
    ):
        started.extend(re.findall(r"Keycloak \S+ on \w+", keycloak.log.read_text("utf-8")))
        yield keycloak


@pytest.fixture(scope="session")
def admin(keycloak: Keycloak) -> Iterator[Admin]:
    with closing(Admin(keycloak)) as admin:
        yield admin


@pytest.fixture
def authorization_server(keycloak: Keycloak, admin: Admin) -> Iterator[AuthorizationServer]:
    """Keycloak as its contract has it."""

    def credentials(client: str) -> dict[str, str]:
        client_id = f"gopacs-{client}"
        return {"client_id": client_id, "client_secret": keycloak.clients[client_id]}

    with keycloak.plain_session() as http:
        yield AuthorizationServer(keycloak.token_url, keycloak.userinfo_url, http, credentials, admin.revoke_tokens)
