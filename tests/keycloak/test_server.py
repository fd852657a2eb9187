"""The peers of the other tests work: the real Keycloak, and the API that checks its tokens."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from . import distribution, server
from .admin import plain_session
from .protected_api import ProtectedApi, Received
from .server import Keycloak


@pytest.fixture
def http(keycloak: Keycloak) -> Iterator[requests.Session]:
    with plain_session(keycloak.ca_file) as session:
        yield session


class Bearer(requests.auth.AuthBase):
    """Puts a token on requests, and keeps it out of what pytest prints."""

    def __init__(self, token: str) -> None:
        self.token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self.token}"
        return request


def ask(http: requests.Session, keycloak: Keycloak, client_id: str, **form: str) -> requests.Response:
    credentials = {"client_id": client_id, "client_secret": keycloak.clients.get(client_id, "")}
    form = {"grant_type": "client_credentials", **credentials, **form}
    return http.post(keycloak.token_url, data=form, timeout=10)


def grant(http: requests.Session, keycloak: Keycloak, client_id: str = "gopacs-ordinary") -> Bearer:
    response = ask(http, keycloak, client_id, scope="openid")
    assert response.status_code == 200
    return Bearer(response.json()["access_token"])


def call(http: requests.Session, url: str, auth: Bearer) -> requests.Response:
    return http.get(url, auth=auth, timeout=10)


def test_api_rejects_what_keycloak_did_not_sign(
    keycloak: Keycloak, protected_api: ProtectedApi, http: requests.Session
) -> None:
    """Neither what is no token, nor one with another's signature, is taken; the answer is as RFC 6750 says."""
    genuine, other = grant(http, keycloak), grant(http, keycloak, "gopacs-odd-secret")
    signed, _, _ = genuine.token.rpartition(".")
    _, _, signature = other.token.rpartition(".")
    for token in "garbage", f"{signed}.{signature}":
        response = call(http, protected_api.url, Bearer(token))
        assert (response.status_code, response.content) == (401, b"")
        assert response.headers["WWW-Authenticate"] == 'Bearer error="invalid_token"'


def test_api_rejects_request_without_token(protected_api: ProtectedApi, http: requests.Session) -> None:
    """A request without a token is refused, and no error is named."""
    response = http.post(f"{protected_api.url}/messages", data=b"sold", timeout=10)
    assert response.status_code == 401
    assert "error" not in response.headers["WWW-Authenticate"]
    assert protected_api.received[-1] == Received("POST", "/messages", False, 401)


def test_api_rejects_expired_token(keycloak: Keycloak, protected_api: ProtectedApi, http: requests.Session) -> None:
    """A token is good for the seconds it was issued for, and no longer."""
    short_lived = grant(http, keycloak, "gopacs-short-lived")
    assert call(http, protected_api.url, short_lived).status_code == 200

    time.sleep(3)

    assert call(http, protected_api.url, short_lived).status_code == 401


def test_events_tell_what_a_client_did(keycloak: Keycloak, http: requests.Session) -> None:
    """Each token request is an event of its kind and client, so that a refresh token's use would show."""
    keycloak.admin.forget_events()
    refresh_token = ask(http, keycloak, "gopacs-refresh-tokens").json()["refresh_token"]
    ask(http, keycloak, "gopacs-refresh-tokens", grant_type="refresh_token", refresh_token=refresh_token)
    ask(http, keycloak, "gopacs-refresh-tokens", client_secret="wrong")
    ask(http, keycloak, "gopacs-ordinary")

    events = keycloak.admin.events("gopacs-refresh-tokens")
    assert events == {"CLIENT_LOGIN": 1, "REFRESH_TOKEN": 1, "CLIENT_LOGIN_ERROR": 1}
    assert keycloak.admin.events("gopacs-ordinary") == {"CLIENT_LOGIN": 1}


def test_realm_is_restored(keycloak: Keycloak, http: requests.Session) -> None:
    """All that an administrator changes in the realm and its clients is as before after one call."""
    admin = keycloak.admin
    admin.enable("gopacs-ordinary", False)
    admin.regenerate_secret("gopacs-odd-secret")
    admin.revoke_tokens("gopacs-short-lived")
    admin.revoke_tokens()
    admin.enable_realm(False)

    admin.restore_realm()

    for client_id in ("gopacs-ordinary", "gopacs-odd-secret", "gopacs-short-lived"):
        assert ask(http, keycloak, client_id).status_code == 200
    assert ask(http, keycloak, "gopacs-short-lived").json()["not-before-policy"] == 0
    assert ask(http, keycloak, "gopacs-disabled").json()["error"] == "invalid_client"


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
