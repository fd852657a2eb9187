"""A GopacsSession is used as a requests.Session is."""

from __future__ import annotations

import gc
import os
import weakref
from pathlib import Path
from typing import Any

import pytest
import requests
import requests_mock

from gopacs_session import ConfigurationError, GopacsSession
from gopacs_session.sandbox import Sandbox

BASIC = requests.auth._basic_auth_str


def test_arguments_mean_what_they_mean_in_requests(sandbox: Sandbox, session: GopacsSession) -> None:
    """request takes them by position, too."""
    user = "user", "password"
    session.request("post", sandbox.api_url, {"q": "1"}, b"body", {"X-Header": "h"}, {"c": "cookie"}, None, user)
    exchange = sandbox.api_requests[0]
    assert exchange.authorization == BASIC(*user)
    assert (exchange.query, exchange.body) == ("q=1", b"body")
    assert (exchange.headers["X-Header"], exchange.headers["Cookie"]) == ("h", "c=cookie")


@pytest.mark.parametrize("method", ["get", "options", "head", "post", "put", "patch", "delete"])
def test_every_method_sends_the_token(sandbox: Sandbox, session: GopacsSession, method: str) -> None:
    """Each of requests' methods sends the token, and asks for JSON as GOPACS's manual wants, or as the caller does."""
    for headers in {}, {"Accept": "text/xml"}, {"Accept": None}:
        assert getattr(session, method)(sandbox.api_url, headers=headers).status_code == 200
    assert {(exchange.method, exchange.token_number) for exchange in sandbox.api_requests} == {(method.upper(), 1)}
    accepted = [exchange.headers.get("Accept") for exchange in sandbox.api_requests]
    assert accepted == ["application/json", "text/xml", None]


# The session's auth; options of the call; what goes out: 1 for the token, or an Authorization.
AUTHS: list[tuple[Any, dict[str, Any], Any]] = [
    (None, {"auth": ()}, 1),
    (None, {"headers": {"authorization": "Bearer old"}}, 1),
    (None, {"auth": ("call", "p")}, BASIC("call", "p")),
    (("session", "p"), {}, BASIC("session", "p")),
    (("session", "p"), {"auth": ("call", "p")}, BASIC("call", "p")),
    (("session", "p"), {"withhold_token": True}, BASIC("session", "p")),
    (None, {"withhold_token": True}, BASIC("netrc", "p")),
    (None, {"withhold_token": True, "auth": ("call", "p")}, BASIC("call", "p")),
]


@pytest.mark.parametrize("auth, options, sent", AUTHS, ids=str)
def test_which_credentials_go_out(
    sandbox: Sandbox, session: GopacsSession, auth: Any, options: dict[str, Any], sent: Any
) -> None:
    """The caller's auth goes before the token, and the token before netrc and headers; the session's stay."""
    Path(os.environ["NETRC"]).write_text("machine localhost login netrc password p\n")
    session.trust_env, session.auth = True, auth
    before = dict(session.headers)
    session.get(sandbox.api_url, **options)
    if "withhold_token" not in options:
        session.send(session.prepare_request(requests.Request("GET", sandbox.api_url, **options)))
    for exchange in sandbox.api_requests:
        assert sent in (exchange.token_number or 0, exchange.authorization)
    assert session.headers == before
    assert len(sandbox.token_requests) == (1 if sent == 1 else 0)


@pytest.mark.parametrize("trust_env", [True, False])
@pytest.mark.parametrize("url", ["https://bücher.example/", "https://xn--bcher-kva.example/", "https://u:p@x.example/"])
def test_a_foreign_request_is_the_plain_one(url: str, trust_env: bool) -> None:
    """netrc, by the name that the caller wrote, and credentials in the URL are what they are to requests."""
    Path(os.environ["NETRC"]).write_text("machine bücher.example login user password secret\n", encoding="utf-8")
    request, prepared = requests.Request("GET", url), []
    for session in GopacsSession("trader", "s3cret", "acceptance"), requests.Session():
        session.trust_env = trust_env
        prepared.append(dict(session.prepare_request(request).headers))
    assert prepared[0] == prepared[1]


def test_a_mistyped_host_is_warned_of_once(session: GopacsSession, caplog: pytest.LogCaptureFixture) -> None:
    """A foreign host that contains gopac is probably meant to be GOPACS's."""
    for host in "api.gopacs-services.nl", "api.gopacs-services.nl", "elsewhere.example":
        session.prepare_request(requests.Request("GET", f"https://u:p@{host}/x?key=q"))
    [message] = caplog.messages
    assert message.startswith("api.gopacs-services.nl gets no token")


def test_timeouts() -> None:
    """The session's serves requests that name none; token_timeout serves the token request."""
    url, session = "https://api.gopacs-services.eu/", GopacsSession("c", "s", timeout=(3, 7), token_timeout=(2, 5))
    with requests_mock.Mocker() as mock:
        mock.post(session.environment.token_url, json={"access_token": "abc"})
        mock.get(url)
        session.get(url)
        session.get(url, timeout=1)
        session.send(session.prepare_request(requests.Request("GET", url)))
        session.timeout = None
        session.get(url)
    assert [request.timeout for request in mock.request_history] == [(2, 5), (3, 7), 1, (3, 7), None]
    with pytest.raises(ConfigurationError, match="timeout"):
        session.timeout = 0


@pytest.mark.parametrize("name", ["client_id", "client_secret", "environment"])
@pytest.mark.parametrize("value", ["", " ", None, 5], ids=repr)
def test_bad_arguments_are_refused_at_construction(name: str, value: Any) -> None:
    """An empty or malformed argument is a ConfigurationError that names it, and shows no secret."""
    arguments = {"client_id": "trader", "client_secret": "s3cret", "environment": "production", name: value}
    with pytest.raises(ConfigurationError, match=name) as caught:
        GopacsSession(**arguments)
    assert "s3cret" not in str(caught.value)


def test_a_session_that_is_dropped_is_freed(sandbox: Sandbox) -> None:
    """A session that nobody closed gives its memory back, as in requests."""
    session = sandbox.session()
    session.get(sandbox.api_url)
    alive = weakref.ref(session)
    del session
    gc.collect()
    assert alive() is None


def test_a_client_that_has_its_session_authenticate(sandbox: Sandbox, session: GopacsSession) -> None:
    """As the oauth_client of shapeshifter-uftp's clients, a session has a usable token within the block."""
    assert not session.authorized
    with session.ensure_authenticated():
        assert session.authorized
    assert len(sandbox.token_requests) == 1
