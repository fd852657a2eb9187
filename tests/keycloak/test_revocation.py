"""Tokens that Keycloak revokes before they expire are replaced, and nobody but the servers notices."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from gopacs_session import GopacsSession, InvalidClientError

from .admin import plain_session
from .load import Load
from .protected_api import ProtectedApi, Received
from .server import Keycloak

Connect = Callable[..., GopacsSession]
Revoke = Callable[[Keycloak, GopacsSession], object]


def revoke_at_endpoint(keycloak: Keycloak, session: GopacsSession) -> None:
    """Revoke the session's token as a client may itself (RFC 7009)."""
    client_id = str(session.client_id)
    credentials = {"client_id": client_id, "client_secret": keycloak.clients[client_id]}
    with plain_session(keycloak.ca_file) as http:
        url = keycloak.token_url.replace("/token", "/revoke")
        http.post(url, data={**credentials, "token": session.access_token}, timeout=10).raise_for_status()


@pytest.mark.parametrize("client", ["ordinary", "refresh-tokens"])
@pytest.mark.parametrize(
    "revoke",
    [
        lambda keycloak, _: keycloak.admin.revoke_tokens(),
        lambda keycloak, session: keycloak.admin.revoke_tokens(session.client_id),
        # Older ones go on taking the tokens that no session of theirs is behind.
        pytest.param(
            lambda keycloak, session: keycloak.admin.log_out(session.client_id), marks=pytest.mark.newest_keycloak
        ),
        lambda keycloak, _: keycloak.admin.rotate_keys(),
        revoke_at_endpoint,
    ],
    ids=["realm's not-before", "client's not-before", "logged out", "keys rotated", "token revoked"],
)
def test_revoked_token_is_replaced(altered_keycloak: Keycloak, connect: Connect, client: str, revoke: Revoke) -> None:
    """However Keycloak revokes a token, the next request to Keycloak's own resource succeeds on one renewal."""
    session = connect(client, scope="openid")
    assert session.get(altered_keycloak.userinfo_url).status_code == 200
    altered_keycloak.admin.forget_events()

    revoke(altered_keycloak, session)

    assert session.get(altered_keycloak.userinfo_url).status_code == 200
    assert session.get(altered_keycloak.userinfo_url).status_code == 200
    assert altered_keycloak.admin.events(f"gopacs-{client}") == {"CLIENT_LOGIN": 1}


def test_a_message_with_a_revoked_token_is_taken_once(
    altered_keycloak: Keycloak, api: ProtectedApi, connect: Connect
) -> None:
    """The API refuses a POST whose token is signed with a retired key, gets it once more, and no third time."""
    session = connect()
    session.fetch_token()
    altered_keycloak.admin.rotate_keys()
    assert session.post(f"{api.url}/messages", data=b"sold").status_code == 200
    assert api.received == [Received("POST", "/messages", True, status) for status in (401, 200)]


def test_regenerated_secret(altered_keycloak: Keycloak, api: ProtectedApi, connect: Connect) -> None:
    """A callable secret follows the client's new one; a secret that stayed behind is refused until it follows."""
    vault = [altered_keycloak.clients["gopacs-ordinary"]]
    following, fixed = connect(client_secret=lambda: vault[-1]), connect()
    for session in following, fixed:
        assert session.get(api.url).status_code == 200

    secret = altered_keycloak.admin.regenerate_secret("gopacs-ordinary")
    altered_keycloak.admin.rotate_keys()

    for session in following, fixed:
        with pytest.raises(InvalidClientError) as refusal:
            session.get(api.url)
        assert refusal.value.error == "unauthorized_client"
    vault.append(secret)
    following.fetch_token()  # It asks at once, where requests get the refusal for another second.
    assert following.get(api.url).status_code == 200
    with pytest.raises(InvalidClientError):
        fixed.get(api.url)


def test_key_rotation_under_load(altered_keycloak: Keycloak, api: ProtectedApi, connect: Connect) -> None:
    """Each of three times that the keys are rotated under 8 threads, one token request serves all, and all get 200."""
    altered_keycloak.admin.forget_events()
    session = connect()
    with Load(lambda: session.get(api.url), threads=8) as load:
        load.wait_for(200)
        for rotation in range(1, 4):
            altered_keycloak.admin.rotate_keys()
            load.wait_for(200, since=time.time())
            assert altered_keycloak.admin.events("gopacs-ordinary") == {"CLIENT_LOGIN": 1 + rotation}

    assert set(load.results()) == {200}
    assert all(request.had_authorization for request in api.received)
    refused = sum(request.status == 401 for request in api.received)
    # At least one request met each rotation, or this test proves nothing; at most one of each thread did.
    assert 3 <= refused <= 3 * 8
