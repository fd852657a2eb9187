from __future__ import annotations

from collections.abc import Iterator

import pytest

from .protected_api import ProtectedApi
from .server import Keycloak


@pytest.fixture(scope="session")
def keycloak() -> Iterator[Keycloak]:
    """A real Keycloak, for tests that leave its clients as they are and do not stop it."""
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
