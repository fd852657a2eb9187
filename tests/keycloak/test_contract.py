"""Keycloak keeps the contract that the sandbox is held to in the default tests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from contract import AuthorizationServer, ProtectedResourceContract, TokenEndpointContract

from .admin import plain_session
from .server import Keycloak


@pytest.fixture
def authorization_server(keycloak: Keycloak) -> Iterator[AuthorizationServer]:
    def credentials(client: str) -> dict[str, str]:
        client_id = f"gopacs-{client}"
        return {"client_id": client_id, "client_secret": keycloak.clients[client_id]}

    def revoke_tokens() -> None:
        after.callback(keycloak.admin.restore_realm)
        keycloak.admin.revoke_tokens()

    with ExitStack() as after:
        http = after.enter_context(plain_session(keycloak.ca_file))
        yield AuthorizationServer(keycloak.token_url, keycloak.userinfo_url, http, credentials, revoke_tokens)


class TestTokenEndpoint(TokenEndpointContract):
    pass


class TestProtectedResource(ProtectedResourceContract):
    pass
