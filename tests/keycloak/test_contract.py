"""Keycloak keeps the contract that the sandbox is held to in the default tests."""

from __future__ import annotations

from contract import ProtectedResourceContract, TokenEndpointContract


class TestTokenEndpoint(TokenEndpointContract):
    pass


class TestProtectedResource(ProtectedResourceContract):
    pass
