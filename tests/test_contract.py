"""The sandbox answers as Keycloak does: it keeps the contract that Keycloak is held to in tests/keycloak."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import requests
from contract import AuthorizationServer, ProtectedResourceContract, TokenEndpointContract

from gopacs_session.sandbox import Sandbox

CLIENTS: dict[str, dict[str, Any]] = {
    # What makes the sandbox's one client such a client.
    "ordinary": {},
    "disabled": {"client_enabled": False},
    "no-service-account": {"service_account_enabled": False},
    "short-lived": {"token_lifetime": 3},
    "refresh-tokens": {"refresh_tokens": True},
    "odd-secret": {"client_secret": "+/%&= ü€"},
}


@pytest.fixture
def authorization_server(sandbox: Sandbox) -> Iterator[AuthorizationServer]:
    def credentials(client: str) -> dict[str, str]:
        for name, value in CLIENTS[client].items():
            setattr(sandbox, name, value)
        return {"client_id": sandbox.client_id, "client_secret": sandbox.client_secret}

    with requests.Session() as http:
        sandbox.trust(http)
        http.trust_env = False
        yield AuthorizationServer(
            sandbox.environment.token_url, f"{sandbox.api_url}/messages", http, credentials, sandbox.revoke_tokens
        )


class TestTokenEndpoint(TokenEndpointContract):
    pass


class TestProtectedResource(ProtectedResourceContract):
    pass
