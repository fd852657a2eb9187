from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from contract import AuthorizationServer

from gopacs_session import Environment, GopacsSession

from .admin import plain_session
from .distribution import NEWEST, keycloak_home
from .protected_api import ProtectedApi
from .server import Keycloak

started: list[str] = []


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--keycloak", default=NEWEST, metavar="VERSION", help=f"24.0 or later; {NEWEST} by default")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("keycloak") != NEWEST:
        for item in items:
            if item.get_closest_marker("newest_keycloak"):
                item.add_marker(pytest.mark.skip(reason=f"as Keycloak {NEWEST} answers"))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for server in started:
        terminalreporter.write_line(f"Server: {server}")


@pytest.fixture(scope="session")
def keycloak(request: pytest.FixtureRequest) -> Iterator[Keycloak]:
    """A real Keycloak, for tests that leave its clients as they are and do not stop it."""
    version = request.config.getoption("keycloak")
    try:
        keycloak_home(version)
    except RuntimeError as missing:
        pytest.exit(str(missing), returncode=1)
    with Keycloak(version) as keycloak:
        started.append(keycloak.banner())
        yield keycloak


@pytest.fixture(scope="session")
def protected_api(keycloak: Keycloak) -> Iterator[ProtectedApi]:
    """An API that takes the tokens of `keycloak`."""
    with ProtectedApi(keycloak) as protected_api:
        yield protected_api


@pytest.fixture
def altered_keycloak(keycloak: Keycloak) -> Iterator[Keycloak]:
    """The same for a test that alters the realm, which is as before afterwards."""
    yield keycloak
    keycloak.admin.restore_realm()


@pytest.fixture
def stoppable_keycloak(keycloak: Keycloak) -> Iterator[Keycloak]:
    """The same for a test that stops it; afterwards it runs."""
    yield keycloak
    keycloak.start()


@pytest.fixture
def connect(keycloak: Keycloak) -> Iterator[Callable[..., GopacsSession]]:
    """Make a session for the realm's client of this kind; options are GopacsSession's, and win."""

    def connect(client: str = "ordinary", **options: Any) -> GopacsSession:
        client_id = f"gopacs-{client}"
        own: dict[str, Any] = {"client_id": client_id, "client_secret": keycloak.clients.get(client_id, "unknown")}
        own["environment"] = Environment("keycloak", keycloak.token_url, ("localhost",))
        session = sessions.enter_context(GopacsSession(**{**own, **options}))
        session.verify = keycloak.ca_file
        return session

    with ExitStack() as sessions:
        yield connect


@pytest.fixture
def authorization_server(keycloak: Keycloak) -> Iterator[AuthorizationServer]:
    """Keycloak as its contract has it."""

    def credentials(client: str) -> dict[str, str]:
        client_id = f"gopacs-{client}"
        return {"client_id": client_id, "client_secret": keycloak.clients[client_id]}

    def revoke_tokens() -> None:
        after.callback(keycloak.admin.restore_realm)
        keycloak.admin.revoke_tokens()

    with ExitStack() as after:
        http = after.enter_context(plain_session(keycloak.ca_file))
        yield AuthorizationServer(keycloak.token_url, keycloak.userinfo_url, http, credentials, revoke_tokens)


@pytest.fixture
def api(protected_api: ProtectedApi) -> ProtectedApi:
    """`protected_api`, with the record of this test's requests only."""
    protected_api.received.clear()
    return protected_api
