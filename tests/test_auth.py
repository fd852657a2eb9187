"""GopacsAuth on requests that others send: through requests.get, through sessions of their own, in other processes."""

from __future__ import annotations

import copy
import io
import pickle
from collections.abc import Callable, Iterator
from itertools import cycle
from typing import Any

import pytest
import requests
import requests_mock
from requests.adapters import HTTPAdapter
from support import Recording, at_once, exit_status, forked, needs_fork

from gopacs_session import (
    ConfigurationError,
    GopacsAuth,
    InsecureURLError,
    InvalidClientError,
    WrongEnvironmentError,
)
from gopacs_session.sandbox import Sandbox


@pytest.fixture
def auth(sandbox: Sandbox) -> GopacsAuth:
    return GopacsAuth(sandbox.client_id, sandbox.client_secret, sandbox.environment)


@pytest.fixture
def session(sandbox: Sandbox, auth: GopacsAuth) -> Iterator[requests.Session]:
    """A plain session of somebody's, with the auth object."""
    with requests.Session() as session:
        session.verify = sandbox.ca_file
        session.auth = auth
        yield session


@pytest.fixture
def other() -> Iterator[Sandbox]:
    with Sandbox() as other:
        yield other


def token_numbers(sandbox: Sandbox) -> list[int | None]:
    return [exchange.token_number for exchange in sandbox.api_requests]


# -- which request bears the token ------------------------------------------------------------------------------------


def test_requests_get_bears_the_token(sandbox: Sandbox, auth: GopacsAuth) -> None:
    """Calls of requests' functions share one token, and ask for JSON as GOPACS's manual wants it."""
    for _ in range(2):
        assert requests.get(sandbox.api_url, auth=auth, verify=sandbox.ca_file, timeout=10).status_code == 200
    assert token_numbers(sandbox) == [1, 1]
    assert sandbox.api_requests[0].headers["Accept"] == "application/json"
    assert len(sandbox.token_requests) == 1


def test_threads_and_sessions_share_one_token(sandbox: Sandbox, auth: GopacsAuth) -> None:
    """32 threads over four sessions with one auth object cost one token request."""
    sessions = [requests.Session() for _ in range(4)]
    for session in sessions:
        session.verify, session.auth = sandbox.ca_file, auth
    turns = cycle(sessions)
    answers = at_once(32, lambda: next(turns).get(sandbox.api_url))
    for session in sessions:
        session.close()
    assert [answer.status_code for answer in answers] == [200] * 32
    assert len(sandbox.token_requests) == 1


def test_a_foreign_host_gets_nothing_of_it(sandbox: Sandbox, other: Sandbox, session: requests.Session) -> None:
    """A request to a host outside the environment is, header by header, the one that would go without the auth."""
    foreign = other.api_url.replace("localhost", "127.0.0.1")
    session.verify = other.ca_file
    session.post(foreign, data=b"body")
    session.auth = None
    session.post(foreign, data=b"body")
    with_it, without = other.api_requests
    assert list(with_it.headers.items()) == list(without.headers.items())
    assert with_it.authorization is None
    assert sandbox.token_requests == []


@pytest.mark.parametrize(
    "url, error, use",
    [
        ("https://api.acc.gopacs-services.eu/x", WrongEnvironmentError, "Use an auth object for acceptance, or none"),
        ("http://api.gopacs-services.eu/x", InsecureURLError, "use https"),
    ],
)
def test_the_wrong_url_raises_before_anything_is_sent(url: str, error: type[Exception], use: str) -> None:
    """A URL of another environment, and one over http, is refused."""
    with requests_mock.Mocker() as mock, pytest.raises(error, match=use):
        requests.get(url, auth=GopacsAuth("trader", "s3cret"), timeout=10)
    assert mock.request_history == []


def test_its_settings_may_come_from_the_environment(sandbox: Sandbox) -> None:
    """from_env reads the variables that GopacsSession.from_env reads; arguments win over them."""
    environ = {"GOPACS_CLIENT_ID": sandbox.client_id, "GOPACS_CLIENT_SECRET": sandbox.client_secret}
    auth = GopacsAuth.from_env(environ, environment=sandbox.environment, scope="email")
    requests.get(sandbox.api_url, auth=auth, verify=sandbox.ca_file, timeout=10).raise_for_status()
    assert (auth.client_id, auth.scope) == (sandbox.client_id, "email")
    with pytest.raises(ConfigurationError, match="GOPACS_CLIENT_SECRET"):
        GopacsAuth.from_env({"GOPACS_CLIENT_ID": "trader"})


def test_it_shows_neither_secret_nor_token(auth: GopacsAuth, sandbox: Sandbox) -> None:
    """The repr of an auth object names environment and client; that of its header hides the token."""
    header = auth.auth_header
    assert repr(auth) == "<GopacsAuth sandbox client_id='sandbox'>"
    assert header["Authorization"] == f"Bearer {auth.token['access_token']}"
    assert auth.token["access_token"] not in repr(header)
    assert sandbox.client_secret not in repr(vars(auth))


# -- a refusal --------------------------------------------------------------------------------------------------------


def test_a_refusal_is_mended_by_the_sessions_own_adapter(sandbox: Sandbox, session: requests.Session) -> None:
    """A refused request is sent again by the adapter that sent it, its body rewound; the token comes by another way."""
    adapter = Recording()
    session.mount("https://", adapter)
    session.get(sandbox.api_url)
    sandbox.revoke_tokens()
    file = io.BytesIO(b"<skipped/><message/>")
    file.seek(10)
    answer = session.post(f"{sandbox.api_url}/message", data=file)
    assert (answer.status_code, [earlier.status_code for earlier in answer.history]) == (200, [401])
    assert answer.history[0].request.headers["Authorization"] == "Bearer ***"
    assert [exchange.body for exchange in sandbox.api_requests[1:]] == [b"<message/>"] * 2
    assert token_numbers(sandbox) == [1, 1, 2]
    assert adapter.sent == [("GET", f"{sandbox.api_url}/"), *[("POST", f"{sandbox.api_url}/message")] * 2]


def test_a_failed_renewal_after_a_refusal_is_raised(sandbox: Sandbox, session: requests.Session) -> None:
    """When no other token can be obtained, the caller gets that error, as from a GopacsSession."""
    session.get(sandbox.api_url)
    sandbox.revoke_tokens()
    sandbox.client_enabled = False
    with pytest.raises(InvalidClientError):
        session.get(sandbox.api_url)


# -- redirects, which are the foreign session's -----------------------------------------------------------------------


def test_a_redirect_within_one_host_keeps_the_token_and_is_mended(sandbox: Sandbox, session: requests.Session) -> None:
    """A redirect to another path bears the token; if it is refused there, it is mended."""
    sandbox.answer_next_api_requests(1, 302, headers={"Location": "/moved"})
    sandbox.answer_next_api_requests(1, 401)
    assert session.get(sandbox.api_url).status_code == 200
    assert token_numbers(sandbox) == [1, 1, 2]


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_a_redirect_to_another_host_drops_the_token(
    sandbox: Sandbox, other: Sandbox, session: requests.Session, host: str
) -> None:
    """requests drops the token where host or port changes, within the environment, too, and nothing brings it back."""
    sandbox.answer_next_api_requests(1, 307, headers={"Location": other.api_url.replace("localhost", host)})
    session.mount(f"https://{host}:", TrustingAdapter(other.ca_file))
    session.mount(sandbox.api_url, HTTPAdapter())
    assert session.get(sandbox.api_url).status_code == 401
    assert [exchange.authorization for exchange in other.api_requests] == [None]
    assert len(sandbox.token_requests) == 1


class TrustingAdapter(HTTPAdapter):
    """An adapter with a CA of its own."""

    def __init__(self, ca_file: str) -> None:
        self.ca_file = ca_file
        super().__init__()

    def send(self, request: requests.PreparedRequest, **options: Any) -> requests.Response:  # type: ignore[override]
        return super().send(request, **{**options, "verify": self.ca_file})


def test_on_a_gopacs_session_it_stands_in_for_the_sessions_token(sandbox: Sandbox, auth: GopacsAuth) -> None:
    """Named in a call of a GopacsSession, its token goes out, and the redirects of that call are those of requests."""
    elsewhere = requests_mock.Adapter()
    elsewhere.register_uri("GET", "https://api.gopacs-services.eu/")
    sandbox.answer_next_api_requests(1, 307, headers={"Location": "/moved"})
    sandbox.answer_next_api_requests(1, 307, headers={"Location": "https://api.gopacs-services.eu/"})
    with sandbox.session() as session:
        session.mount("https://api.gopacs-services.eu", elsewhere)
        session.token = {"access_token": "of-the-session"}
        assert session.get(sandbox.api_url, auth=auth).status_code == 200
    assert [exchange.authorization for exchange in sandbox.api_requests] == [auth.auth_header["Authorization"]] * 2
    assert "Authorization" not in elsewhere.last_request.headers


# -- in the programs of others ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "duplicate",
    [lambda auth: pickle.loads(pickle.dumps(auth)), copy.copy, copy.deepcopy],
    ids=["pickle", "copy", "deepcopy"],
)
def test_a_warm_copy_keeps_the_token(
    sandbox: Sandbox, auth: GopacsAuth, session: requests.Session, duplicate: Callable[[GopacsAuth], GopacsAuth]
) -> None:
    """A copy goes on with the token, and mends a refusal of it."""
    auth.fetch_token()
    session.auth = duplicate(auth)
    session.get(sandbox.api_url)
    sandbox.revoke_tokens()
    assert session.get(sandbox.api_url).status_code == 200
    assert token_numbers(sandbox) == [1, 1, 2]


@needs_fork
@pytest.mark.parametrize("unpickled", [False, True])
def test_a_forked_child_has_the_token_and_its_own_connections(
    sandbox: Sandbox, auth: GopacsAuth, pauses: list[float], unpickled: bool
) -> None:
    """Parent and child both go on after a fork, with the token at hand and the one after it, each at its first try."""
    auth = pickle.loads(pickle.dumps(auth)) if unpickled else auth

    def call() -> bool:
        return requests.get(sandbox.api_url, auth=auth, verify=sandbox.ca_file, timeout=10).ok

    call()
    assert exit_status(forked(lambda: call() and auth.fetch_token() and call())) == 0
    assert token_numbers(sandbox) == [1, 1, 2]
    assert auth.fetch_token()
    assert call()
    assert pauses == []


# -- for those who send by other means --------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["{}", "Bearer {}", "bearer {}"])
def test_threads_that_were_refused_with_one_token_share_the_next(sandbox: Sandbox, auth: GopacsAuth, form: str) -> None:
    """32 threads that give fetch_token the token or the Authorization that was refused cost one token request."""
    refused = form.format(auth.fetch_token()["access_token"])
    tokens = at_once(32, lambda: auth.fetch_token(refused=refused)["access_token"])
    assert len(set(tokens)) == 1
    assert tokens[0] not in refused
    assert len(sandbox.token_requests) == 2
    assert auth.fetch_token(refused=refused)["access_token"] == tokens[0]


def test_a_token_of_an_earlier_run_that_was_refused(sandbox: Sandbox, auth: GopacsAuth) -> None:
    """An auth object that has no token yet asks for one, whichever was refused."""
    assert auth.fetch_token(refused="of-yesterday")["access_token"] == auth.token["access_token"]
    assert len(sandbox.token_requests) == 1


@pytest.mark.parametrize("refused", ["", " ", "Bearer abc def", b"Bearer abc", 401])
def test_what_cannot_have_been_refused_is_an_error(sandbox: Sandbox, auth: GopacsAuth, refused: Any) -> None:
    """Anything but a token or an Authorization is refused, and nothing is asked for."""
    with pytest.raises(ConfigurationError, match="refused"):
        auth.fetch_token(refused=refused)
    assert sandbox.token_requests == []
