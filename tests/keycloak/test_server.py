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


@pytest.mark.parametrize(
    "client_id, lifetime, has_refresh_token",
    [
        ("gopacs-ordinary", 300, False),
        ("gopacs-short-lived", 3, False),
        ("gopacs-refresh-tokens", 300, True),
        ("gopacs-odd-secret", 300, False),
    ],
)
def test_enabled_client_gets_token(
    keycloak: Keycloak,
    http: requests.Session,
    client_id: str,
    lifetime: int,
    has_refresh_token: bool,
) -> None:
    """Each client of the realm gets its kind of token, whatever characters are in its secret."""
    response = ask(http, keycloak, client_id)

    assert response.status_code == 200
    answer = response.json()
    # Keycloak says how many whole seconds are left, and the second may turn meanwhile.
    assert answer["expires_in"] in (lifetime - 1, lifetime)
    assert answer["token_type"] == "Bearer"
    assert ("refresh_token" in answer) is has_refresh_token


@pytest.mark.parametrize(
    "client_id, form, status, error",
    [
        ("gopacs-ordinary", {"client_secret": "wrong"}, 401, "unauthorized_client"),
        ("gopacs-unknown", {}, 401, "invalid_client"),
        ("gopacs-disabled", {}, 401, "invalid_client"),
        ("gopacs-no-service-account", {}, 401, "unauthorized_client"),
        ("gopacs-ordinary", {"scope": "nonsense"}, 400, "invalid_scope"),
    ],
)
def test_token_request_is_refused(
    keycloak: Keycloak,
    http: requests.Session,
    client_id: str,
    form: dict[str, str],
    status: int,
    error: str,
) -> None:
    """A client that may not have a token is told why."""
    response = ask(http, keycloak, client_id, **form)

    assert (response.status_code, response.json()["error"]) == (status, error)
    assert response.headers["Cache-Control"] == "no-store"
    assert "WWW-Authenticate" not in response.headers


def test_api_accepts_token(keycloak: Keycloak, protected_api: ProtectedApi, http: requests.Session) -> None:
    """The API tells whose token it was, and keeps a record."""
    response = call(http, f"{protected_api.url}/messages", grant(http, keycloak))

    assert response.status_code == 200
    assert response.json() == {
        "client_id": "gopacs-ordinary",
        "roles": ["market-messages", "participants", "trading-company"],
    }
    assert protected_api.received[-1] == Received("GET", "/messages", True, 200)


def test_api_rejects_garbage(protected_api: ProtectedApi, http: requests.Session) -> None:
    """What is no token is answered as RFC 6750 says."""
    response = call(http, protected_api.url, Bearer("garbage"))

    assert (response.status_code, response.content) == (401, b"")
    assert response.headers["WWW-Authenticate"] == 'Bearer error="invalid_token"'


def test_api_rejects_forged_signature(keycloak: Keycloak, protected_api: ProtectedApi, http: requests.Session) -> None:
    """The signature of another token does not fit."""
    genuine, other = grant(http, keycloak), grant(http, keycloak, "gopacs-odd-secret")
    signed, _, _ = genuine.token.rpartition(".")
    _, _, signature = other.token.rpartition(".")
    forged = Bearer(f"{signed}.{signature}")

    assert call(http, protected_api.url, forged).status_code == 401


def test_api_rejects_request_without_token(protected_api: ProtectedApi, http: requests.Session) -> None:
    """A request without a token is refused after its body was read, so the connection lives."""
    for body in (b"known length", iter([b"two ", b"chunks"])):
        response = http.post(f"{protected_api.url}/messages", data=body, timeout=10)

        assert response.status_code == 401
        assert "error" not in response.headers["WWW-Authenticate"]
        assert protected_api.received[-1] == Received("POST", "/messages", False, 401)


def test_api_rejects_expired_token(keycloak: Keycloak, protected_api: ProtectedApi, http: requests.Session) -> None:
    """A token is good for the seconds it was issued for, and no longer."""
    short_lived = grant(http, keycloak, "gopacs-short-lived")
    assert call(http, protected_api.url, short_lived).status_code == 200

    time.sleep(3)

    assert call(http, protected_api.url, short_lived).status_code == 401


def test_api_rejects_token_of_retired_key(
    keycloak: Keycloak, protected_api: ProtectedApi, http: requests.Session
) -> None:
    """A new key alone spoils no token; taking the old key away does, at once."""
    old = grant(http, keycloak)

    keycloak.admin.rotate_keys(keep_old=True)
    assert call(http, protected_api.url, old).status_code == 200
    assert call(http, protected_api.url, grant(http, keycloak)).status_code == 200

    keycloak.admin.rotate_keys()
    assert call(http, protected_api.url, old).status_code == 401
    assert call(http, protected_api.url, grant(http, keycloak)).status_code == 200


def test_revoked_tokens_are_rejected(
    altered_keycloak: Keycloak, protected_api: ProtectedApi, http: requests.Session
) -> None:
    """The realm's not-before reaches the API."""
    realms = grant(http, altered_keycloak)
    altered_keycloak.admin.revoke_tokens()
    assert call(http, protected_api.url, realms).status_code == 401
    assert call(http, altered_keycloak.userinfo_url, realms).status_code == 401


def test_revoked_tokens_of_a_client_are_rejected(
    altered_keycloak: Keycloak, protected_api: ProtectedApi, http: requests.Session
) -> None:
    """A client's not-before reaches only Keycloak's own userinfo."""
    clients = grant(http, altered_keycloak)
    not_before = altered_keycloak.admin.revoke_tokens("gopacs-ordinary")
    assert call(http, protected_api.url, clients).status_code == 200
    assert call(http, altered_keycloak.userinfo_url, clients).status_code == 401
    new = grant(http, altered_keycloak)
    assert call(http, altered_keycloak.userinfo_url, new).status_code == 200
    answer = ask(http, altered_keycloak, "gopacs-ordinary")
    assert answer.json()["not-before-policy"] == not_before


@pytest.mark.newest_keycloak
def test_logged_out_client_is_rejected(altered_keycloak: Keycloak, http: requests.Session) -> None:
    """Logging out ends a client's tokens, with a session behind them or without; the next is good."""
    names = ("gopacs-refresh-tokens", "gopacs-ordinary")
    tokens = [grant(http, altered_keycloak, name) for name in names]
    assert [call(http, altered_keycloak.userinfo_url, token).status_code for token in tokens] == [200, 200]

    for name in names:
        altered_keycloak.admin.log_out(name)

    assert [call(http, altered_keycloak.userinfo_url, token).status_code for token in tokens] == [401, 401]
    new = [grant(http, altered_keycloak, name) for name in names]
    assert [call(http, altered_keycloak.userinfo_url, token).status_code for token in new] == [200, 200]


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


def test_client_is_disabled_and_gets_new_secret(altered_keycloak: Keycloak, http: requests.Session) -> None:
    """The administrator's changes of a client count at once."""
    admin = altered_keycloak.admin
    admin.enable("gopacs-ordinary", False)
    assert ask(http, altered_keycloak, "gopacs-ordinary").json()["error"] == "invalid_client"

    admin.enable("gopacs-ordinary")
    secret = admin.regenerate_secret("gopacs-ordinary")
    assert ask(http, altered_keycloak, "gopacs-ordinary").json()["error"] == "unauthorized_client"
    assert ask(http, altered_keycloak, "gopacs-ordinary", client_secret=secret).status_code == 200


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
