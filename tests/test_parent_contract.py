"""What OAuth2Session's own tests ask of it for client credentials, asked of GopacsSession; and where it differs.

The subjects are those of ``tests/test_oauth2_session.py`` in requests-oauthlib 2.0.0. As there, each test runs a second
time with a netrc file that has other credentials for the host.
"""

from __future__ import annotations

import os
from pathlib import Path
from time import time
from typing import Any
from urllib.parse import parse_qsl

import pytest
import requests
from oauthlib.oauth2 import BackendApplicationClient, InsecureTransportError, OAuth2Error
from requests.adapters import HTTPAdapter
from requests.auth import HTTPBasicAuth
from requests_oauthlib import OAuth2Session
from support import Clock

from gopacs_session import AuthorizationServerError, ConfigurationError, GopacsSession, TokenRequestError
from gopacs_session.sandbox import Exchange, Sandbox

STORED = {"access_token": "stored", "token_type": "Bearer", "expires_in": 3600}


@pytest.fixture(autouse=True, params=["without netrc", "with netrc"])
def netrc(request: pytest.FixtureRequest, clean_environment: None) -> None:
    if request.param == "with netrc":
        Path(os.environ["NETRC"]).write_text("machine localhost login netrc-user password netrc-password\n")


@pytest.fixture
def sandbox(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Sandbox:
    """A sandbox whose sessions read netrc."""
    make = sandbox.session

    def session(**options: Any) -> GopacsSession:
        session = make(**options)
        session.trust_env = True
        return session

    monkeypatch.setattr(sandbox, "session", session)
    return sandbox


def form(exchange: Exchange) -> dict[str, str]:
    return dict(parse_qsl(exchange.body.decode(), keep_blank_values=True, strict_parsing=True))


def oauthlib_client(session: GopacsSession) -> Any:
    return session._client  # type: ignore[attr-defined]  # The stubs do without it.


def authorizations(sandbox: Sandbox) -> list[str | None]:
    return [exchange.authorization for exchange in sandbox.api_requests]


# -- the token on requests --------------------------------------------------------------------------------------------


def test_a_session_is_an_oauth2session_with_the_client_of_the_grant() -> None:
    """Code that asks for an OAuth2Session, or for its oauthlib client, finds one."""
    session = GopacsSession("trader", "s3cret")
    assert isinstance(session, OAuth2Session)
    assert isinstance(oauthlib_client(session), BackendApplicationClient)


def test_a_stored_token_is_put_on_requests(sandbox: Sandbox) -> None:
    """A token that was assigned goes out as a bearer token, and none is fetched."""
    sandbox.answer_next_api_requests(2, 200)
    with sandbox.session() as session:
        session.token = STORED
        session.get(sandbox.api_url)
        session.post(sandbox.api_url, data={"a": "b"})
    assert authorizations(sandbox) == ["Bearer stored", "Bearer stored"]
    assert sandbox.token_requests == []


def test_the_token_joins_the_callers_headers(sandbox: Sandbox) -> None:
    """Headers of the call are sent beside the token, which the parent would write into the caller's dict."""
    headers = {"X-Header": "h"}
    with sandbox.session() as session:
        session.get(sandbox.api_url, headers=headers).raise_for_status()
    assert sandbox.api_requests[0].headers["X-Header"] == "h"
    assert headers == {"X-Header": "h"}


def test_without_a_token_one_is_fetched(sandbox: Sandbox) -> None:
    """A first request fetches its token; the parent sends it without one."""
    with sandbox.session() as session:
        assert session.get(sandbox.api_url).status_code == 200
    assert len(sandbox.token_requests) == 1
    assert None not in authorizations(sandbox)


def test_withhold_token_is_the_parents(sandbox: Sandbox) -> None:
    """withhold_token=True sends no token, though there is one."""
    with sandbox.session() as session:
        session.token = STORED
        session.request("GET", sandbox.api_url, withhold_token=True)
    assert "Bearer stored" not in authorizations(sandbox)


@pytest.mark.parametrize("auth", [("user", "password"), HTTPBasicAuth("user", "password")], ids=["pair", "object"])
def test_an_auth_of_the_call_wins_over_the_token(sandbox: Sandbox, auth: Any) -> None:
    """auth= replaces the token, as it does in the parent."""
    with sandbox.session() as session:
        session.token = STORED
        session.get(sandbox.api_url, auth=auth)
    assert authorizations(sandbox) == ["Basic dXNlcjpwYXNzd29yZA=="]


def test_netrc_is_switched_off_only_where_the_token_goes(sandbox: Sandbox) -> None:
    """Another host gets netrc's credentials, as from requests; the parent switches netrc off for every host."""
    Path(os.environ["NETRC"]).write_text("machine 127.0.0.1 login user password password\n")
    elsewhere = sandbox.api_url.replace("localhost", "127.0.0.1")
    with sandbox.session() as session:
        session.token = STORED
        session.get(elsewhere, verify=sandbox.ca_file)
    assert authorizations(sandbox) == ["Basic dXNlcjpwYXNzd29yZA=="]


def test_http_is_refused_for_the_environments_own_hosts_only(sandbox: Sandbox) -> None:
    """An http URL of GOPACS's is refused with oauthlib's error; the parent refuses all of them."""
    request = requests.Request("GET", "http://elsewhere.example/")
    with sandbox.session() as session:
        with pytest.raises(InsecureTransportError):
            session.get(sandbox.api_url.replace("https", "http"))
        assert "Authorization" not in session.prepare_request(request).headers
    assert sandbox.api_requests == sandbox.token_requests == []


def test_positional_arguments_are_in_the_order_of_requests(sandbox: Sandbox) -> None:
    """The third argument is params and the fourth data, as in requests; in the parent they are data and headers."""
    with sandbox.session() as session:
        session.request("POST", sandbox.api_url, {"q": "1"}, b"body")
    assert (sandbox.api_requests[0].query, sandbox.api_requests[0].body) == ("q=1", b"body")


@pytest.mark.parametrize("option", ["client_id", "client_secret"])
def test_credentials_of_a_single_call_are_not_taken(sandbox: Sandbox, option: str) -> None:
    """The credentials that the parent takes with a request, to renew the token, belong to the session."""
    options: dict[str, Any] = {option: "someone"}
    with sandbox.session() as session, pytest.raises(TypeError, match=option):
        session.request("GET", sandbox.api_url, **options)


# -- fetch_token ------------------------------------------------------------------------------------------------------


def test_fetch_token_returns_the_answer_and_keeps_it(sandbox: Sandbox) -> None:
    """The result is the answer with its expires_at, and the session's token from now on."""
    before = time()
    with sandbox.session() as session:
        token = session.fetch_token()
        assert session.token == token
        session.get(sandbox.api_url).raise_for_status()
    assert (token["token_type"], token["expires_in"]) == ("Bearer", 300)
    assert before + 300 <= token["expires_at"] <= time() + 300
    assert authorizations(sandbox) == [f"Bearer {token['access_token']}"]


def test_the_credentials_are_always_in_the_body(sandbox: Sandbox) -> None:
    """The form holds id and secret, as in the parent with include_client_id=True; nothing is in header or query."""
    with sandbox.session() as session:
        session.auth = HTTPBasicAuth("user", "password")
        session.params = {"code": "1"}
        session.fetch_token()
    exchange = sandbox.token_requests[0]
    assert form(exchange) == {
        "grant_type": "client_credentials",
        "client_id": sandbox.client_id,
        "client_secret": sandbox.client_secret,
    }
    assert (exchange.method, exchange.query, exchange.authorization) == ("POST", "", None)


def test_the_token_request_asks_for_json_whatever_the_sessions_headers(sandbox: Sandbox) -> None:
    """Accept and Content-Type are the grant's own, and no other header of the session goes along."""
    with sandbox.session() as session:
        session.headers.update({"Accept": "text/html", "Content-Type": "text/plain", "X-Header": "h"})
        session.fetch_token()
    headers = sandbox.token_requests[0].headers
    assert headers["Accept"] == "application/json"
    assert headers["Content-Type"] == "application/x-www-form-urlencoded"
    assert "X-Header" not in headers


@pytest.mark.parametrize(
    "option", ["token_url", "auth", "headers", "timeout", "verify", "proxies", "include_client_id"]
)
@pytest.mark.parametrize("method", ["fetch_token", "refresh_token"])
def test_what_the_parent_is_told_each_time_is_not_taken(sandbox: Sandbox, method: str, option: str) -> None:
    """The session knows its token endpoint and its credentials: others are refused, and nothing is sent."""
    with sandbox.session() as session, pytest.raises(TypeError, match=option):
        getattr(session, method)(**{option: None})
    assert sandbox.token_requests == []


@pytest.mark.parametrize("secret", ["", None])
def test_there_is_no_client_without_a_secret(secret: Any) -> None:
    """An empty secret or none is refused at once; the parent sends it, or leaves it out."""
    with pytest.raises(ConfigurationError, match="client_secret"):
        GopacsSession("trader", secret)


@pytest.mark.parametrize("option", ["client", "auto_refresh_url", "redirect_uri", "token", "state", "pkce"])
def test_arguments_for_other_grants_are_not_taken(option: str) -> None:
    """The parent's options that this grant has no use for are a TypeError; a stored token is assigned instead."""
    with pytest.raises(TypeError, match=option):
        GopacsSession("trader", "s3cret", **{option: None})  # type: ignore[arg-type]


def test_an_error_answer_is_a_requests_exception(sandbox: Sandbox) -> None:
    """An error of RFC 6749 carries its code, in an exception of requests; in the parent it is one of oauthlib's."""
    sandbox.answer_next_token_requests(1, 400, body={"error": "invalid_request", "error_description": "Why"})
    with sandbox.session() as session, pytest.raises(TokenRequestError) as caught:
        session.fetch_token()
    assert (caught.value.status_code, caught.value.error, caught.value.description) == (400, "invalid_request", "Why")
    assert isinstance(caught.value, requests.RequestException)
    assert not isinstance(caught.value, OAuth2Error)


def test_an_error_in_a_200_is_an_error_too(sandbox: Sandbox) -> None:
    """The answer's error member decides, as in the parent, which looks at nothing else."""
    sandbox.answer_next_token_requests(1, 200, body={"error": "invalid_request"})
    with sandbox.session() as session, pytest.raises(TokenRequestError) as caught:
        session.fetch_token()
    assert caught.value.error == "invalid_request"


class Recorder(HTTPAdapter):
    """Hands requests on to another adapter, and keeps the certificates that they came with."""

    def __init__(self, inner: Any) -> None:
        super().__init__()
        self.inner = inner
        self.certificates: list[Any] = []

    def send(self, request: requests.PreparedRequest, *arguments: Any, **options: Any) -> Any:
        self.certificates.append(options.pop("cert"))
        return self.inner.send(request, *arguments, **options)


def test_a_client_certificate_goes_with_the_token_request(sandbox: Sandbox) -> None:
    """The session's cert serves for mutual TLS with the token endpoint, which the parent takes in fetch_token."""
    with sandbox.session() as session:
        recorder = Recorder(session.get_adapter(f"{sandbox.api_url}/"))
        session.mount(f"{sandbox.api_url}/", recorder)
        session.cert = ("client.pem", "client-key.pem")
        session.fetch_token()
    assert recorder.certificates == [("client.pem", "client-key.pem")]
    assert form(sandbox.token_requests[0])["client_id"] == sandbox.client_id


def test_a_slow_token_endpoint_is_not_waited_for(sandbox: Sandbox, pauses: list[float]) -> None:
    """token_timeout ends each try; the parent waits for ever unless each call of fetch_token says otherwise."""
    sandbox.token_delay = 30
    with sandbox.session(token_timeout=0.2) as session, pytest.raises(AuthorizationServerError, match="Timeout"):
        session.fetch_token()
    assert len(sandbox.token_requests) == 3


@pytest.mark.parametrize("scope, sent", [(None, None), ("profile", "profile"), (["profile", "email"], "profile email")])
def test_the_scope_is_sent_if_there_is_one(sandbox: Sandbox, scope: Any, sent: str | None) -> None:
    """A scope is a string or a list of them, given to the session or assigned."""
    with sandbox.session(scope=scope) as session:
        assert session.scope == scope
        session.fetch_token()
        session.scope = "openid"
        session.fetch_token()
    assert [form(exchange).get("scope") for exchange in sandbox.token_requests] == [sent, "openid"]


def test_another_scope_than_asked_is_no_error(sandbox: Sandbox) -> None:
    """A server that grants another scope has granted a token; the parent raises a Warning and keeps none."""
    with sandbox.session(scope="openid") as session:
        assert session.fetch_token()["scope"] == "openid profile email"
        assert session.authorized


# -- expiry and renewal -----------------------------------------------------------------------------------------------


def test_an_expired_token_is_renewed_unasked(sandbox: Sandbox) -> None:
    """A request with an expired token gets a new one; the parent raises TokenExpiredError or needs a refresh URL."""
    with sandbox.session() as session:
        session.token = {**STORED, "expires_at": time() - 3600}
        assert session.get(sandbox.api_url).status_code == 200
    assert len(sandbox.token_requests) == 1
    assert "Bearer stored" not in authorizations(sandbox)


def test_without_a_token_updater_the_request_goes_on(sandbox: Sandbox, clock: Clock) -> None:
    """A renewal that nobody is told of is no exception; the parent raises TokenUpdated in place of the answer."""
    with sandbox.session() as session:
        session.fetch_token()
        clock.advance(300)
        assert session.get(sandbox.api_url).status_code == 200
    assert sandbox.api_requests[0].token_number == 2


def test_the_token_updater_gets_each_new_token(sandbox: Sandbox, clock: Clock) -> None:
    """token_updater is called with what token then is; the parent calls it for renewals alone, not for fetch_token."""
    updates: list[dict[str, Any]] = []
    with sandbox.session(token_updater=updates.append) as session:
        first = session.fetch_token()
        clock.advance(300)
        session.get(sandbox.api_url)
        assert updates == [first, session.token]
    assert first["access_token"] != session.token["access_token"]


def test_a_token_request_bears_no_token(sandbox: Sandbox) -> None:
    """The expired token does not go to the token endpoint, neither by itself nor by refresh_token."""
    with sandbox.session() as session:
        session.token = {**STORED, "expires_at": time() - 3600}
        session.get(sandbox.api_url)
        session.refresh_token()
    assert [exchange.authorization for exchange in sandbox.token_requests] == [None, None]


def test_a_refresh_token_is_never_used(sandbox: Sandbox) -> None:
    """refresh_token fetches by client credentials, as RFC 6749 section 4.4.3 wants it."""
    sandbox.refresh_tokens = True
    with sandbox.session() as session:
        first = session.fetch_token()
        second = session.refresh_token()
        assert session.token == second
    assert [form(exchange)["grant_type"] for exchange in sandbox.token_requests] == ["client_credentials"] * 2
    assert first["access_token"] != second["access_token"]


def test_a_previous_token_is_no_hindrance(sandbox: Sandbox) -> None:
    """fetch_token replaces an expired token, and one that is not."""
    with sandbox.session() as session:
        session.token = {**STORED, "expires_at": time() - 7200}
        first = session.fetch_token()
        second = session.fetch_token()
        assert first["expires_at"] > time()
        assert "stored" != first["access_token"] != second["access_token"]


def test_a_failed_fetch_leaves_the_previous_token(sandbox: Sandbox) -> None:
    """A token stays until there is another; the parent throws it away first, and goes on without."""
    sandbox.client_enabled = False
    with sandbox.session() as session:
        session.token = STORED
        with pytest.raises(TokenRequestError):
            session.fetch_token()
        assert session.access_token == "stored"


# -- what the session lets one read, set and delete -------------------------------------------------------------------


def test_client_id_is_the_clients(sandbox: Sandbox) -> None:
    """client_id is that of oauthlib's client; unlike the parent's it can't be changed."""
    with sandbox.session() as session:
        assert session.client_id == oauthlib_client(session).client_id == sandbox.client_id
        with pytest.raises(AttributeError):
            session.client_id = "renamed"
        session.fetch_token()
    assert form(sandbox.token_requests[0])["client_id"] == sandbox.client_id


def test_access_token_is_read_set_and_deleted(sandbox: Sandbox) -> None:
    """An assigned access_token is sent; a deleted one is None, and the next request fetches another."""
    with sandbox.session() as session:
        assert session.access_token is None
        session.access_token = "by-hand"
        assert session.access_token == session.token["access_token"] == "by-hand"
        session.auth_header  # noqa: B018 - it would fetch a token if there were none
        assert sandbox.token_requests == []
        del session.access_token
        assert session.access_token is None
        session.get(sandbox.api_url)
    assert sandbox.api_requests[0].token_number == 1


def test_token_is_read_and_set(sandbox: Sandbox) -> None:
    """token holds what was assigned; unlike the parent's, it also tells when that expires, and is a copy."""
    stored = dict(STORED)
    with sandbox.session() as session:
        assert session.token == {}
        session.token = stored
        assert session.token == {**STORED, "expires_at": pytest.approx(time() + 3600, abs=5)}
        stored["access_token"] = session.token["access_token"] = "not assigned"
        assert session.access_token == "stored"
        session.token = stored
        assert session.access_token == "not assigned"


@pytest.mark.parametrize("nothing", [{}, None])
def test_an_empty_token_is_none(sandbox: Sandbox, nothing: Any) -> None:
    """Assigning nothing drops the token."""
    with sandbox.session() as session:
        session.token = STORED
        session.token = nothing
        assert (session.token, session.access_token, session.authorized) == ({}, None, False)


def test_token_cannot_be_deleted() -> None:
    """As in the parent, token has no deleter."""
    with pytest.raises(AttributeError):
        del GopacsSession("trader", "s3cret").token


def test_authorized_tells_whether_there_is_a_token(sandbox: Sandbox) -> None:
    """authorized is False until the first token is there."""
    with sandbox.session() as session:
        assert session.authorized is False
        session.fetch_token()
        assert session.authorized is True


@pytest.mark.parametrize("kind", list(OAuth2Session("anyone").compliance_hook))
def test_compliance_hooks_cannot_be_registered(kind: str) -> None:
    """Every kind of hook that the parent knows is refused aloud, since none would be called."""
    with pytest.raises(NotImplementedError, match="hook"):
        GopacsSession("trader", "s3cret").register_compliance_hook(kind, lambda *arguments: arguments)
