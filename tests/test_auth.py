"""GopacsAuth on requests that others send: through requests.get, and through sessions of their own."""

from __future__ import annotations

import io
from collections.abc import Iterator
from itertools import cycle

import pytest
import requests
import requests_mock
from support import Recording, at_once

from gopacs_session import GopacsAuth, InsecureURLError, WrongEnvironmentError
from gopacs_session.sandbox import Sandbox


@pytest.fixture
def auth(sandbox: Sandbox) -> GopacsAuth:
    return GopacsAuth(sandbox.client_id, sandbox.client_secret, sandbox.environment)


@pytest.fixture
def plain(sandbox: Sandbox, auth: GopacsAuth) -> Iterator[requests.Session]:
    """A plain session of somebody's, with the auth object."""
    with requests.Session() as session:
        session.verify, session.auth = sandbox.ca_file, auth
        yield session


def test_threads_and_sessions_share_one_token(sandbox: Sandbox, auth: GopacsAuth) -> None:
    """32 threads, by requests.get and a session, cost one token request; they ask for JSON as GOPACS's manual wants."""
    with requests.Session() as session:
        get = cycle([requests.get, session.get])
        answers = at_once(32, lambda: next(get)(sandbox.api_url, auth=auth, verify=sandbox.ca_file, timeout=10))
    assert [answer.status_code for answer in answers] == [200] * 32
    assert {exchange.headers["Accept"] for exchange in sandbox.api_requests} == {"application/json"}
    assert len(sandbox.token_requests) == 1


@pytest.mark.parametrize(
    "url, error, use",
    [
        ("https://api.acc.gopacs-services.eu/x", WrongEnvironmentError, "an auth object for acceptance"),
        ("http://api.gopacs-services.eu/x", InsecureURLError, "use https"),
    ],
)
def test_the_wrong_url_raises_before_anything_is_sent(url: str, error: type[Exception], use: str) -> None:
    """A URL of another environment, and one over http, is refused."""
    with requests_mock.Mocker() as mock, pytest.raises(error, match=use):
        requests.get(url, auth=GopacsAuth("trader", "s3cret"), timeout=10)
    assert mock.request_history == []


def test_it_shows_neither_secret_nor_token(sandbox: Sandbox, auth: GopacsAuth) -> None:
    """The repr of an auth object names environment and client; that of its header hides the token."""
    header = auth.auth_header
    assert repr(auth) == "<GopacsAuth sandbox client_id='sandbox'>"
    assert header["Authorization"] == f"Bearer {auth.token['access_token']}"
    assert auth.token["access_token"] not in repr(header)
    assert sandbox.client_secret not in repr(vars(auth))


def test_a_request_is_replayed_by_the_adapter_that_sent_it(sandbox: Sandbox, plain: requests.Session) -> None:
    """A refused request is sent again by its session's own adapter, its body rewound; the token comes another way."""
    adapter = Recording()
    plain.mount("https://", adapter)
    plain.get(sandbox.api_url)
    sandbox.revoke_tokens()
    answer = plain.post(f"{sandbox.api_url}/message", data=io.BytesIO(b"<message/>"))
    assert (answer.status_code, [earlier.status_code for earlier in answer.history]) == (200, [401])
    assert [exchange.body for exchange in sandbox.api_requests[1:]] == [b"<message/>"] * 2
    assert adapter.sent == [("GET", f"{sandbox.api_url}/"), *[("POST", f"{sandbox.api_url}/message")] * 2]


@pytest.mark.parametrize("form", ["{}", "Bearer {}", "bearer {}"])
def test_threads_that_were_refused_with_one_token_share_the_next(sandbox: Sandbox, auth: GopacsAuth, form: str) -> None:
    """32 threads that give fetch_token what was refused cost one token request; a refusal of the next, none for 5 s."""
    refused = form.format(auth.fetch_token()["access_token"])
    tokens = {answer["access_token"] for answer in at_once(32, lambda: auth.fetch_token(refused=refused))}
    assert tokens == {auth.token["access_token"]}
    assert len(sandbox.token_requests) == 2
    for again in "of-yesterday", auth.token["access_token"]:
        assert auth.fetch_token(refused=again) == auth.token
    assert len(sandbox.token_requests) == 2
