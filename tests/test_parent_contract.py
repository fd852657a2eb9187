"""What a GopacsSession is to code that was written for requests-oauthlib's OAuth2Session."""

from __future__ import annotations

import inspect
import pprint
from time import time
from typing import Any
from unittest import mock

import pytest
import requests
from oauthlib.oauth2 import BackendApplicationClient, OAuth2Error, TokenExpiredError
from requests_oauthlib import OAuth2Session

from gopacs_session import ConfigurationError, GopacsAuth, GopacsSession, TokenRequestError
from gopacs_session.sandbox import Sandbox

STORED = {"access_token": "stored", "token_type": "bearer", "expires_in": 3600}
PARENTS = {name for name in dir(OAuth2Session("anyone")) if name[0] != "_"} - set(dir(requests.Session()))
SUPPORTED = {
    *("token", "access_token", "authorized", "fetch_token", "refresh_token"),
    *("client_id", "scope", "token_updater"),
}
UNSUPPORTED = sorted(PARENTS - SUPPORTED)


def bearer(session: GopacsSession, url: str) -> str:
    """The Authorization that the session's oauthlib client puts on a request."""
    return str(session._client.add_token(url, headers={})[1]["Authorization"])


def test_the_token_lives_in_the_oauthlib_client(sandbox: Sandbox) -> None:
    """A session is an OAuth2Session with oauthlib's client of the grant, which holds each token that was obtained."""
    with sandbox.session() as session:
        assert isinstance(session, OAuth2Session)
        for _ in range(2):
            answer = session.fetch_token()
            assert isinstance(session._client, BackendApplicationClient)
            assert session._client.client_id == sandbox.client_id
            assert session._client.token == answer == session.token
            assert bearer(session, sandbox.api_url) == f"Bearer {answer['access_token']}"
        session.get(sandbox.api_url)
    assert sandbox.api_requests[0].authorization == f"Bearer {answer['access_token']}"


def test_the_oauthlib_client_knows_when_its_token_has_expired(sandbox: Sandbox) -> None:
    """As in the parent, an expired token's client raises TokenExpiredError; the session renews it."""
    with sandbox.session() as session:
        session.token = {**STORED, "expires_at": time() - 1}
        with pytest.raises(TokenExpiredError):
            bearer(session, sandbox.api_url)
        assert session.get(sandbox.api_url).status_code == 200
        assert bearer(session, sandbox.api_url) == sandbox.api_requests[0].authorization


def test_token_is_a_copy_that_tells_its_expiry(sandbox: Sandbox) -> None:
    """token holds what was assigned, and when that expires; changing either dictionary changes no token."""
    stored = dict(STORED)
    with sandbox.session() as session:
        session.token = stored
        assert session.token == {**STORED, "expires_at": pytest.approx(time() + 3600, abs=5)}
        stored["access_token"] = session.token["access_token"] = "not assigned"
        assert (session.access_token, session.authorized) == ("stored", True)
        session.token = None
        assert (session.token, session.access_token, session.authorized) == ({}, None, False)


def test_the_access_token_can_be_assigned(sandbox: Sandbox) -> None:
    """access_token is the token's, which can be assigned by it, too, and taken away."""
    with sandbox.session() as session:
        assert session.access_token is None
        assert session.fetch_token()["access_token"] == session.access_token
        session.access_token = "by-hand"
        assert session.token["access_token"] == "by-hand"
        session.access_token = None
        assert session.token == {}


def test_a_failed_fetch_leaves_the_previous_token(sandbox: Sandbox) -> None:
    """A token stays until there is another; the parent throws it away first, and goes on without."""
    sandbox.client_enabled = False
    with sandbox.session() as session:
        session.token = STORED
        with pytest.raises(TokenRequestError) as caught:
            session.fetch_token()
        assert session.access_token == "stored"
    assert not isinstance(caught.value, OAuth2Error)


def test_the_scope_can_be_assigned(sandbox: Sandbox) -> None:
    """An assigned scope is sent with the next token request."""
    with sandbox.session() as session:
        session.scope = ["openid", "email"]
        session.fetch_token()
        assert session.scope == ["openid", "email"]
    assert b"scope=openid+email" in sandbox.token_requests[0].body


@pytest.mark.parametrize("option", ["token_url", "client_id", "client_secret", "auth", "verify", "include_client_id"])
@pytest.mark.parametrize("method", ["fetch_token", "refresh_token"])
def test_what_the_parent_is_told_each_time_is_not_taken(sandbox: Sandbox, method: str, option: str) -> None:
    """The session knows its token endpoint and its credentials: others are refused, and nothing is sent."""
    with sandbox.session() as session:
        for arguments, options in [((), {option: "https://elsewhere"}), (("https://elsewhere",), {})]:
            with pytest.raises(TypeError, match="argument"):
                getattr(session, method)(*arguments, **options)
    assert sandbox.token_requests == []


def test_credentials_of_a_single_call_are_not_taken(sandbox: Sandbox) -> None:
    """The credentials that the parent takes with a request, to renew the token, belong to the session."""
    options: dict[str, Any] = {"client_secret": "another"}
    with sandbox.session() as session, pytest.raises(TypeError, match="client_secret"):
        session.request("GET", sandbox.api_url, **options)


@pytest.mark.parametrize("option", ["client", "auto_refresh_url", "redirect_uri", "token", "state", "pkce"])
def test_arguments_for_other_grants_are_not_taken(option: str) -> None:
    """The parent's options that this grant has no use for are a TypeError; a stored token is assigned instead."""
    options: dict[str, Any] = {option: None}
    with pytest.raises(TypeError, match=option):
        GopacsSession("trader", "s3cret", **options)


@pytest.mark.parametrize("name", [*UNSUPPORTED, "client_secret"])
def test_what_this_grant_has_not_says_so(name: str) -> None:
    """What would have no effect can't be read, called, set or deleted; to hasattr and getattr it is not there."""
    session = GopacsSession("trader", "s3cret")
    uses = [
        lambda: getattr(session, name),
        lambda: setattr(session, name, None),
        lambda: delattr(session, name),
    ]
    for use in uses:
        with pytest.raises(NotImplementedError, match=f"^GopacsSession does not support {name}: ."):
            use()
    assert not hasattr(session, name)


def test_the_parents_hooks_cannot_be_added() -> None:
    """Both ways to add a compliance hook say that none would be called."""
    session: Any = GopacsSession("trader", "s3cret")
    with pytest.raises(NotImplementedError, match="hooks of requests"):
        session.compliance_hook["protected_request"].add(print)
    with pytest.raises(NotImplementedError, match="hooks of requests"):
        session.register_compliance_hook("protected_request", print)


def test_tools_that_look_at_every_attribute_work(sandbox: Sandbox) -> None:
    """inspect, pprint and mock meet what is not supported, and go on."""
    with sandbox.session() as session:
        names = {name for name, _ in inspect.getmembers(session)}
        assert {"get", "fetch_token", "timeout"} <= names
        assert sandbox.client_secret not in pprint.pformat(vars(session))
        for double in (mock.create_autospec(session), mock.create_autospec(GopacsSession)("trader", "s3cret")):
            double.get.return_value = 7
            assert double.get("https://api.gopacs-services.eu/x", withhold_token=True) == 7


# -- what can be set --------------------------------------------------------------------------------------------------

BAD_SETTINGS: dict[str, list[Any]] = {
    "leeway": [-1, "60", float("nan")],
    "scope": [5],
    "token": ["abc"],
    "token_timeout": [None, 0, "5", (3, None), (3, "7"), (), (5,), 10**400],
    "token_updater": [3],
}
FIXED = ["auth_header", "client_id", "client_secret", "environment"]


@pytest.fixture(params=[GopacsSession, GopacsAuth])
def thing(request: pytest.FixtureRequest) -> Any:
    return request.param("trader", "s3cret", leeway=7, scope="email", token_timeout=7, token_updater=print)


@pytest.mark.parametrize(
    "name, value",
    [(name, value) for name, values in BAD_SETTINGS.items() for value in values],
    ids=lambda value: str(value)[:13],
)
def test_a_bad_setting_is_refused_when_it_is_set(thing: Any, name: str, value: Any) -> None:
    """A setting that makes no sense is a ConfigurationError that names it, and the one before it stays."""
    before = getattr(thing, name)
    with pytest.raises(ConfigurationError, match=rf"\b{name}\b"):
        setattr(thing, name, value)
    assert getattr(thing, name) == before
    with pytest.raises(TypeError if name == "token" else ConfigurationError, match=rf"\b{name}\b"):
        type(thing)("trader", "s3cret", **{name: value})


@pytest.mark.parametrize(
    "name, value", [("leeway", 0), ("scope", ["a", "b"]), ("token_timeout", (3, 7.5)), ("token_updater", repr)]
)
def test_a_setting_can_be_changed(thing: Any, name: str, value: Any) -> None:
    """A setting is what it was given or set to last."""
    given = {"leeway": 7, "scope": "email", "token_timeout": 7, "token_updater": print}
    assert getattr(thing, name) == given[name]
    setattr(thing, name, value)
    assert getattr(thing, name) == value


@pytest.mark.parametrize("kind", [GopacsSession, GopacsAuth])
def test_the_defaults(kind: Any) -> None:
    """They are the documented ones: production, no scope, and these seconds."""
    thing = kind("trader", "s3cret")
    assert (thing.environment.name, thing.scope, thing.token_updater) == ("production", None, None)
    assert (thing.leeway, thing.token_timeout, getattr(thing, "timeout", 60)) == (60, 10, 60)


@pytest.mark.parametrize("value", ["foo", "60", 0, -1, True, (1, 2, 3), (5,), float("nan")], ids=str)
def test_a_bad_timeout_is_refused(value: Any) -> None:
    """The timeout of a session is checked at its construction, and when it is set."""
    with pytest.raises(ConfigurationError, match=r"^timeout\b"):
        GopacsSession("trader", "s3cret", timeout=value)
    session = GopacsSession("trader", "s3cret", timeout=7)
    with pytest.raises(ConfigurationError, match=r"^timeout\b"):
        session.timeout = value
    assert session.timeout == 7


@pytest.mark.parametrize("name", FIXED)
def test_what_a_token_belongs_to_cannot_be_changed(thing: Any, name: str) -> None:
    """A token belongs to an environment and a client: neither can be assigned or deleted, and no secret replaced."""
    for use in (lambda: setattr(thing, name, "another"), lambda: delattr(thing, name)):
        with pytest.raises(AttributeError, match=name):
            use()
    assert (thing.environment.name, thing.client_id) == ("production", "trader")
