"""A session and a real Keycloak, whose userinfo is a resource that takes its tokens."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from contract import TOKEN_ANSWER, claims

from gopacs_session import InvalidClientError, TokenRequestError

from .admin import Admin
from .server import Keycloak


def test_a_token(keycloak: Keycloak) -> None:
    """The first request gets a token, which serves the next; it holds Keycloak's answer and when that expires."""
    obtained: list[dict[str, Any]] = []
    with keycloak.session(token_updater=obtained.append) as session:
        for _ in range(2):
            answer = session.get(keycloak.userinfo_url).json()
            assert answer["preferred_username"] == "service-account-gopacs-ordinary"
    [token] = obtained
    assert set(token) == {*TOKEN_ANSWER, "id_token", "expires_at"}
    # More scopes than were asked for.
    assert set(token["scope"].split()) == {"openid", "profile", "email"}
    # Keycloak counts in whole seconds: its token may end up to one of them before expires_in has passed.
    assert -2 < token["expires_at"] - claims(token["access_token"])["exp"] < 2


def test_an_odd_secret(keycloak: Keycloak) -> None:
    """A secret of `+/%&= ü€` arrives intact."""
    with keycloak.session("odd-secret") as session:
        assert session.get(keycloak.userinfo_url).status_code == 200


def test_a_refresh_token(keycloak: Keycloak) -> None:
    """A client that gets refresh tokens is renewed like any other."""
    with keycloak.session("refresh-tokens") as session:
        assert session.fetch_token()["refresh_token"]
        session.token = {**session.token, "expires_at": time.time() - 1}
        assert session.get(keycloak.userinfo_url).status_code == 200


def test_renewal(keycloak: Keycloak) -> None:
    """Requests across three lives of 3 s get nothing but 200, on a token or two for each."""
    obtained: list[dict[str, Any]] = []
    with keycloak.session("short-lived", token_updater=obtained.append) as session:
        end = time.monotonic() + 9
        while time.monotonic() < end:
            assert session.get(keycloak.userinfo_url).status_code == 200
            time.sleep(0.05)
    assert 3 <= len(obtained) <= 10


@pytest.mark.parametrize("revoke", [Admin.revoke_tokens, Admin.rotate_keys])
def test_a_revoked_token(keycloak: Keycloak, admin: Admin, revoke: Callable[[Admin], None]) -> None:
    """However a token is revoked, the next request is refused, and replayed with a new one."""
    with keycloak.session() as session:
        session.get(keycloak.userinfo_url).raise_for_status()
        revoke(admin)
        answers = [session.post(keycloak.userinfo_url) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert [[refusal.status_code for refusal in answer.history] for answer in answers] == [[401], []]


def test_a_disabled_client(keycloak: Keycloak, admin: Admin) -> None:
    """A client that is disabled gets an InvalidClientError in place of a token, until it is enabled again."""
    with keycloak.session() as session:
        session.get(keycloak.userinfo_url).raise_for_status()
        admin.enable("gopacs-ordinary", enabled=False)
        try:
            with pytest.raises(InvalidClientError) as refusal:
                session.get(keycloak.userinfo_url)
        finally:
            admin.enable("gopacs-ordinary", enabled=True)
        assert (refusal.value.status_code, refusal.value.error) == (401, "invalid_client")
        session.fetch_token()
        assert session.get(keycloak.userinfo_url).status_code == 200


def test_the_manuals_other_path(keycloak: Keycloak) -> None:
    """The path in the curl line of GOPACS's manual, which leads nowhere, is an error in Keycloak's words."""
    environment = replace(keycloak.environment, token_url=keycloak.token_url.replace("/realms/", "/realm/"))
    with keycloak.session(environment=environment) as session, pytest.raises(TokenRequestError) as refusal:
        session.fetch_token()
    assert (refusal.value.status_code, refusal.value.error) == (404, "Unable to find matching target resource method")
