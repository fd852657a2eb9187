from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from gopacs_session import Environment, GopacsSession

from .distribution import keycloak_home
from .protected_api import ProtectedApi
from .server import Keycloak


@pytest.fixture(scope="session")
def keycloak() -> Iterator[Keycloak]:
    """A real Keycloak, for tests that leave its clients as they are and do not stop it."""
    try:
        keycloak_home()
    except RuntimeError as missing:
        pytest.exit(str(missing), returncode=1)
    with Keycloak() as keycloak:
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
def api(protected_api: ProtectedApi) -> ProtectedApi:
    """`protected_api`, with the record of this test's requests only."""
    protected_api.received.clear()
    return protected_api
