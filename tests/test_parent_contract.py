"""What a GopacsSession is to code that was written for requests-oauthlib's OAuth2Session, and what it takes."""

from __future__ import annotations

from itertools import product
from time import time
from typing import Any

import pytest
from oauthlib.oauth2 import TokenExpiredError
from requests_oauthlib import OAuth2Session

from gopacs_session import ConfigurationError, GopacsAuth, GopacsSession, TokenRequestError
from gopacs_session.sandbox import Sandbox

STORED = {"access_token": "stored", "token_type": "bearer", "expires_in": 3600}
BOTH = pytest.mark.parametrize("kind", [GopacsSession, GopacsAuth])


def test_the_oauthlib_client(sandbox: Sandbox, session: GopacsSession) -> None:
    """A session is an OAuth2Session whose client of oauthlib has the current token, and knows when it has expired."""
    assert isinstance(session, OAuth2Session)
    session.token = {**STORED, "expires_at": time() - 1}
    with pytest.raises(TokenExpiredError):
        session._client.add_token(sandbox.api_url)
    session.get(sandbox.api_url)
    assert session._client.add_token(sandbox.api_url)[1]["Authorization"] == sandbox.api_requests[0].authorization


def test_the_token_is_a_copy(session: GopacsSession) -> None:
    """token holds what was assigned, and when that expires; changing either dictionary changes no token."""
    session.token = stored = dict(STORED)
    assert session.token == {**STORED, "expires_at": pytest.approx(time() + 3600, abs=5)}
    stored["access_token"] = session.token["access_token"] = "not assigned"
    assert (session.access_token, session.authorized) == ("stored", True)
    session.token = None
    assert (session.token, session.access_token, session.authorized) == ({}, None, False)


def test_a_failed_fetch_leaves_the_previous_token(sandbox: Sandbox, session: GopacsSession) -> None:
    """A token stays until there is another; the parent throws it away first, and goes on without."""
    sandbox.client_enabled = False
    session.token = STORED
    with pytest.raises(TokenRequestError):
        session.fetch_token()
    assert session.access_token == "stored"


@pytest.mark.parametrize("name", ["auto_refresh_url", "redirect_uri", "compliance_hook", "scope", "leeway"])
def test_what_is_not_there(name: str) -> None:
    """What other grants need of the parent, and what is given at construction only, is no attribute."""
    assert not hasattr(GopacsSession("trader", "s3cret"), name)


@pytest.mark.parametrize("option", ["client", "token", "auto_refresh_url", "redirect_uri", "state", "leewy"])
@BOTH
def test_arguments_that_are_not_taken(kind: Any, option: str) -> None:
    """The parent's arguments for other grants, and misspelt ones, are Python's own TypeError."""
    with pytest.raises(TypeError, match=option):
        kind("trader", "s3cret", **{option: None})


BAD: list[tuple[str, Any]] = [*product(["leeway"], [-1, "60", float("nan"), True]), ("token_updater", 3), ("scope", 5)]
BAD += product(["token_timeout"], [None, 0, "5", (3, None), (3, "7"), (), (5,), 10**400])


@pytest.mark.parametrize("name, value", BAD)
@BOTH
def test_a_bad_setting(kind: Any, name: str, value: Any) -> None:
    """A setting that makes no sense is a ConfigurationError that names it."""
    with pytest.raises(ConfigurationError, match=rf"\b{name}\b"):
        kind("trader", "s3cret", **{name: value})


@pytest.mark.parametrize("value", ["60", 0, -1, True, (1, 2, 3), (5,), float("nan")], ids=str)
def test_a_bad_timeout(value: Any) -> None:
    """The timeout of a session is checked at its construction, and when it is assigned."""
    session = GopacsSession("trader", "s3cret", timeout=7)
    for use in (lambda: GopacsSession("trader", "s3cret", timeout=value), lambda: setattr(session, "timeout", value)):
        with pytest.raises(ConfigurationError, match=r"^timeout\b"):
            use()
    assert session.timeout == 7


@pytest.mark.parametrize("name", ["auth_header", "client_id", "environment"])
@BOTH
def test_what_cannot_be_assigned(kind: Any, name: str) -> None:
    """A token belongs to an environment and a client, which stay as they are."""
    with pytest.raises(AttributeError):
        setattr(kind("trader", "s3cret"), name, "another")
