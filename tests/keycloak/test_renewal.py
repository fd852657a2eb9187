"""Tokens that expire in real time are renewed under load, while Keycloak is there and while it is not."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from contract import claims

from gopacs_session import AuthorizationServerError, GopacsSession

from .load import Load
from .protected_api import ProtectedApi
from .server import Keycloak

Connect = Callable[..., GopacsSession]

LIFE = 3  # seconds, of the tokens of gopacs-short-lived


def test_continuous_load_across_expiries(keycloak: Keycloak, api: ProtectedApi, connect: Connect) -> None:
    """16 threads that never rest for four lifetimes get nothing but 200, on a token request or two a lifetime."""
    keycloak.admin.forget_events()
    session = connect("short-lived")
    with Load(lambda: session.get(api.url), threads=16) as load:
        time.sleep(4 * LIFE)

    assert set(load.results()) == {200}
    assert len(load.outcomes) > 16 * 10
    assert all(request.had_authorization for request in api.received)
    # Renewed at half their lives, which Keycloak may tell as a second less than they are.
    seconds = max(outcome.ended for outcome in load.outcomes) - load.outcomes[0].started
    assert seconds / LIFE <= keycloak.admin.events("gopacs-short-lived")["CLIENT_LOGIN"] <= seconds / (LIFE - 1) * 2 + 1


# Up to Python 3.12 ssl leaves a socket open that the other side resets between connect and handshake.
@pytest.mark.filterwarnings("ignore:unclosed <ssl.SSLSocket:ResourceWarning")
def test_outage_under_load(stoppable_keycloak: Keycloak, api: ProtectedApi, connect: Connect) -> None:
    """While Keycloak is stopped and started again, no request is lost for which there was a good token.

    A session with a token for longer notices nothing. One whose token expires fails with a typed error, and works as
    soon as Keycloak does.
    """
    stoppable_keycloak.admin.forget_events()
    good_until: list[tuple[float, float]] = []

    def updated(token: dict[str, Any]) -> None:
        unusable_at = token["expires_at"] - token["expires_in"] / 10
        good_until.append((time.time(), min(unusable_at, claims(token["access_token"])["exp"])))

    # Its token is still good for seconds after the first renewal behind the requests has failed.
    lasting, brief = connect(), connect("ten-seconds", token_updater=updated)
    with (
        Load(lambda: lasting.get(f"{api.url}/lasting"), threads=4) as on_lasting,
        Load(lambda: brief.get(f"{api.url}/brief"), threads=12) as on_brief,
    ):
        on_brief.wait_for(200)
        stoppable_keycloak.stop()
        stopped = time.time()
        on_brief.wait_for(AuthorizationServerError, since=stopped)
        stoppable_keycloak.start()
        started = time.time()
        on_brief.wait_for(200, since=started)

    assert set(on_lasting.results()) == {200}
    assert stoppable_keycloak.admin.events("gopacs-ordinary") == {"CLIENT_LOGIN": 1}
    assert set(on_brief.results()) == {200, AuthorizationServerError}
    assert set(on_brief.results(since=started)) == {200}
    lost = [
        outcome
        for outcome in on_brief.outcomes
        # Some of the token's time goes by on the way to the API.
        if any(begin <= outcome.started < end - 0.5 for begin, end in good_until) and outcome.result != 200
    ]
    assert lost == []
    assert all(request.had_authorization for request in api.received)
