"""The peers of the other tests work: the API that checks Keycloak's tokens, and what its administrator does."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest
from contract import AuthorizationServer

from . import distribution, server
from .protected_api import ProtectedApi, Received
from .server import Keycloak


@pytest.fixture
def peers(authorization_server: AuthorizationServer, protected_api: ProtectedApi) -> AuthorizationServer:
    """Keycloak, with the API as its resource."""
    return replace(authorization_server, resource_url=protected_api.url)


def token_of(client: str, peers: AuthorizationServer) -> str:
    return str(peers.ask(client).json()["access_token"])


def test_api_rejects_what_keycloak_did_not_sign(peers: AuthorizationServer) -> None:
    """Neither what is no token, nor one with another's signature, is taken; the answer is as RFC 6750 says."""
    signed, _, _ = token_of("ordinary", peers).rpartition(".")
    _, _, signature = token_of("odd-secret", peers).rpartition(".")
    for token in "garbage", f"{signed}.{signature}":
        response = peers.call(token)
        assert (response.status_code, response.content) == (401, b"")
        assert response.headers["WWW-Authenticate"] == 'Bearer error="invalid_token"'


def test_api_rejects_request_without_token(peers: AuthorizationServer, protected_api: ProtectedApi) -> None:
    """A request without a token is refused, and no error is named."""
    response = peers.call(None)
    assert (response.status_code, response.headers["WWW-Authenticate"]) == (401, "Bearer")
    assert protected_api.received[-1] == Received("GET", "/", False, 401)


def test_api_rejects_expired_token(peers: AuthorizationServer) -> None:
    """A token is good for the seconds it was issued for, and no longer."""
    short_lived = token_of("short-lived", peers)
    assert peers.call(short_lived).status_code == 200
    time.sleep(3)
    assert peers.call(short_lived).status_code == 401


def test_events_tell_what_a_client_did(keycloak: Keycloak, peers: AuthorizationServer) -> None:
    """Each token request is an event of its kind and client, so that a refresh token's use would show."""
    keycloak.admin.forget_events()
    refresh_token = peers.ask("refresh-tokens").json()["refresh_token"]
    peers.ask("refresh-tokens", grant_type="refresh_token", refresh_token=refresh_token)
    peers.ask("refresh-tokens", client_secret="wrong")
    peers.ask()
    events = keycloak.admin.events("gopacs-refresh-tokens")
    assert events == {"CLIENT_LOGIN": 1, "REFRESH_TOKEN": 1, "CLIENT_LOGIN_ERROR": 1}
    assert keycloak.admin.events("gopacs-ordinary") == {"CLIENT_LOGIN": 1}


def test_realm_is_restored(keycloak: Keycloak, peers: AuthorizationServer) -> None:
    """All that an administrator changes in the realm and its clients is as before after one call."""
    keycloak.admin.regenerate_secret("gopacs-odd-secret")
    keycloak.admin.revoke_tokens("gopacs-short-lived")
    keycloak.admin.revoke_tokens()
    keycloak.admin.disable_realm()
    keycloak.admin.restore_realm()
    assert peers.ask("odd-secret").status_code == 200
    assert peers.ask("short-lived").json()["not-before-policy"] == 0


def test_late_start_shows_log(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that is not ready in time is ended, and what it has printed so far is shown."""
    monkeypatch.setattr(server, "START_TIMEOUT", 0.1)

    with pytest.raises(RuntimeError, match=r"(?s)not ready after .* JAVA_OPTS"), Keycloak():
        pass


@pytest.fixture
def nothing_installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Neither Keycloak, Maven nor Java are where they are looked for."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setattr(distribution, "JAVA_PLACES", ())


@pytest.mark.usefixtures("nothing_installed")
def test_missing_java_is_named() -> None:
    """One line says which Java to install."""
    with pytest.raises(RuntimeError, match=r"^Java is missing.*25"):
        distribution.keycloak_home(distribution.NEWEST)


def test_missing_maven_is_named(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """One line says that Maven is to be installed."""
    java_home = distribution.java_environment()["JAVA_HOME"]
    request.getfixturevalue("nothing_installed")
    monkeypatch.setenv("JAVA_HOME", java_home)

    with pytest.raises(RuntimeError, match=r"^Maven .* is missing"):
        distribution.keycloak_home(distribution.NEWEST)
