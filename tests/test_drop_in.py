"""A GopacsSession is used as a requests.Session is."""

from __future__ import annotations

import gc
import inspect
import io
import os
import subprocess
import sys
import weakref
from pathlib import Path
from typing import Any

import pytest
import requests
from requests.adapters import HTTPAdapter
from support import Clock

from gopacs_session import ConfigurationError, GopacsSession
from gopacs_session.sandbox import Sandbox


def test_request_has_the_signature_of_requests() -> None:
    """The arguments of request stand in requests' own order, with withhold_token behind them."""
    ours = list(inspect.signature(GopacsSession.request).parameters)
    plain = list(inspect.signature(requests.Session.request).parameters)
    assert ours == [*plain, "withhold_token"]


def test_positional_arguments_mean_what_they_mean_in_requests(sandbox: Sandbox) -> None:
    """params, data, headers and cookies can be given by position."""
    with sandbox.session() as session:
        session.request("post", sandbox.api_url, {"q": "1"}, b"body", {"X-Header": "h"}, {"c": "cookie"})
    exchange = sandbox.api_requests[0]
    assert (exchange.query, exchange.body) == ("q=1", b"body")
    assert (exchange.headers["X-Header"], exchange.headers["Cookie"]) == ("h", "c=cookie")


@pytest.mark.parametrize("method", ["get", "options", "head", "post", "put", "patch", "delete"])
def test_every_method_bears_the_token(sandbox: Sandbox, method: str) -> None:
    """Each of requests' methods sends the token, and asks for JSON as GOPACS's manual wants it."""
    with sandbox.session() as session:
        assert getattr(session, method)(sandbox.api_url).status_code == 200
    exchange = sandbox.api_requests[0]
    assert (exchange.method, exchange.token_number) == (method.upper(), 1)
    assert exchange.headers["Accept"] == "application/json"


def test_the_callers_accept_is_kept(sandbox: Sandbox) -> None:
    """An Accept of the caller's own is sent as it is, and none where the caller wants none."""
    with sandbox.session() as session:
        session.get(sandbox.api_url, headers={"Accept": "text/xml"})
        session.get(sandbox.api_url, headers={"Accept": None})
    assert [exchange.headers.get("Accept") for exchange in sandbox.api_requests] == ["text/xml", None]
    assert [exchange.token_number for exchange in sandbox.api_requests] == [1, 1]


def test_prepare_request_and_send_bear_the_token(sandbox: Sandbox) -> None:
    """A request that is prepared and sent by hand is authenticated, and the Request stays as it was."""
    request = requests.Request("GET", f"{sandbox.api_url}/participants")
    with sandbox.session() as session:
        assert session.send(session.prepare_request(request)).status_code == 200
    assert request.auth is None


def test_auth_on_a_call_wins(sandbox: Sandbox) -> None:
    """Credentials that the caller names, on the call or the session, go out instead of the token, and of netrc's."""
    Path(os.environ["NETRC"]).write_text("machine localhost login user password from-netrc\n")
    with sandbox.session() as session:
        session.trust_env = True
        session.get(sandbox.api_url, auth=("call", "password"))
        session.auth = ("session", "password")
        session.get(sandbox.api_url)
        session.get(sandbox.api_url, withhold_token=True)
    own = [requests.auth._basic_auth_str(user, "password") for user in ("call", "session", "session")]
    assert [exchange.authorization for exchange in sandbox.api_requests] == own
    assert sandbox.token_requests == []


def test_an_auth_of_none_never_switches_the_token_off(sandbox: Sandbox) -> None:
    """Setting auth to nothing, on the session or the call, leaves the token where it was."""
    with sandbox.session() as session:
        session.auth = None
        session.get(sandbox.api_url, auth=())
    assert sandbox.api_requests[0].token_number == 1


def test_a_program_that_does_not_log_sees_nothing() -> None:
    """Where no logging is set up, a warning goes to nobody's standard error, as in requests."""
    program = (
        "import requests, gopacs_session; request = requests.Request('GET', 'https://api.gopacs-services.nl/')\n"
        "gopacs_session.GopacsSession('trader', 's3cret').prepare_request(request)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert done.stdout + done.stderr == b""


def test_withhold_token_sends_the_plain_request(sandbox: Sandbox) -> None:
    """With withhold_token the request goes out as from requests.Session, and no token is fetched."""
    with sandbox.session() as session:
        session.token = {"access_token": "at hand"}
        session.mount("https://", session.get_adapter(f"{sandbox.api_url}/"))
        session.get(sandbox.api_url, withhold_token=True)
        session.get(sandbox.api_url.replace("//", "//user:password@"), withhold_token=True)
        session.get(sandbox.api_url, withhold_token=True, auth=("user", "password"))
    basic = requests.auth._basic_auth_str("user", "password")
    assert [exchange.authorization for exchange in sandbox.api_requests] == [None, basic, basic]
    assert sandbox.token_requests == []


def test_the_callers_headers_stay_as_they_were(sandbox: Sandbox) -> None:
    """Neither the dict of the call nor the session's headers gain an Authorization."""
    headers = {"X-Header": "h"}
    with sandbox.session() as session:
        before = dict(session.headers)
        session.get(sandbox.api_url, headers=headers)
        assert dict(session.headers) == before
    assert headers == {"X-Header": "h"}


def test_the_token_beats_an_authorization_header(sandbox: Sandbox) -> None:
    """As any auth in requests, the token replaces an Authorization header of the call or the session."""
    with sandbox.session() as session:
        session.headers["Authorization"] = "Bearer old"
        session.get(sandbox.api_url, headers={"authorization": "Bearer older"})
    assert sandbox.api_requests[0].token_number == 1


def test_streaming_both_ways(sandbox: Sandbox) -> None:
    """Bodies from generators and answers in chunks work as in requests."""
    with (
        sandbox.session() as session,
        session.post(sandbox.api_url, data=iter([b"a" * 1000] * 10), stream=True) as answer,
    ):
        assert sum(map(len, answer.iter_content(100))) > 0
    assert sandbox.api_requests[0].body == b"a" * 10_000


def test_files_and_json_and_session_defaults(sandbox: Sandbox) -> None:
    """files and json, the session's params, headers and cookies reach the API."""
    with sandbox.session() as session:
        session.params = {"lang": "nl"}
        session.headers["X-Agent"] = "desk"
        session.cookies.set("lb", "a")
        session.post(sandbox.api_url, files={"f": ("name.txt", io.BytesIO(b"content"))})
        session.post(sandbox.api_url, json={"a": 1})
    for exchange in sandbox.api_requests:
        assert exchange.query == "lang=nl"
        assert (exchange.headers["X-Agent"], exchange.headers["Cookie"]) == ("desk", "lb=a")
    assert b"content" in sandbox.api_requests[0].body
    assert sandbox.api_requests[1].body == b'{"a": 1}'


def test_cookies_of_the_api_are_kept_and_those_of_the_token_endpoint_are_not(sandbox: Sandbox) -> None:
    """The session's cookie jar is what the API made of it."""
    token = {"access_token": "abc", "token_type": "Bearer", "expires_in": 300}
    sandbox.answer_next_token_requests(1, 200, body=token, headers={"Set-Cookie": "authorization-server=1; Path=/"})
    sandbox.answer_next_api_requests(1, 401, headers={"Set-Cookie": "refused=1; Path=/"})
    sandbox.answer_next_api_requests(1, 200, headers={"Set-Cookie": "api=1; Path=/"})
    with sandbox.session() as session:
        session.get(sandbox.api_url).raise_for_status()
        assert session.cookies.get_dict() == {"api": "1", "refused": "1"}


class Timeouts(HTTPAdapter):
    """An adapter that keeps the timeouts it is given."""

    def __init__(self, inner: Any) -> None:
        self.inner, self.seen = inner, []
        super().__init__()

    def send(self, request: Any, **options: Any) -> Any:
        self.seen.append(options["timeout"])
        return self.inner.send(request, **options)


def test_timeouts(sandbox: Sandbox) -> None:
    """The session's timeout serves requests that name none; token_timeout serves the token request."""
    with sandbox.session(timeout=(3, 7), token_timeout=(2, 5)) as session:
        adapter = Timeouts(session.get_adapter(f"{sandbox.api_url}/"))
        session.mount(f"{sandbox.api_url}/", adapter)
        session.get(sandbox.api_url)
        session.get(sandbox.api_url, timeout=1)
        session.send(session.prepare_request(requests.Request("GET", sandbox.api_url)))
        for session.timeout in (3, None), None:
            session.get(sandbox.api_url)
    assert adapter.seen == [(2, 5), (3, 7), 1, (3, 7), (3, None), None]


@pytest.mark.parametrize("name", ["client_id", "client_secret", "environment"])
@pytest.mark.parametrize("value", ["", " ", None, 5], ids=repr)
def test_bad_arguments_are_refused_at_construction(name: str, value: Any) -> None:
    """An empty or malformed argument is a ConfigurationError that names it, and shows no secret."""
    arguments = {"client_id": "trader", "client_secret": "s3cret", "environment": "production", name: value}
    with pytest.raises(ConfigurationError, match=name) as caught:
        GopacsSession(**arguments)
    assert "s3cret" not in str(caught.value)


def test_an_unknown_environment_names_the_choices() -> None:
    """The error for an unknown environment says which there are."""
    with pytest.raises(ConfigurationError, match="environment: choose 'acceptance', 'production'"):
        GopacsSession("trader", "s3cret", "staging")


@pytest.mark.parametrize("name", ["acceptance", "Acceptance", " ACCEPTANCE "])
def test_environments_go_by_name_in_any_case(name: str) -> None:
    """A preset can be named in any case."""
    assert GopacsSession("trader", "s3cret", name).environment.name == "acceptance"


def test_a_token_that_is_none_cannot_be_stored(sandbox: Sandbox) -> None:
    """A stored token without a printable access_token is a ConfigurationError, and the current one stays."""
    with sandbox.session() as session:
        token = session.fetch_token()
        bad_tokens: list[Any] = [{"access_token": bad} for bad in ("", "a\r\nb", 5)]
        for bad in ["abc", {"expires_in": 300}, *bad_tokens, {"access_token": "abc", "token_type": "mac"}]:
            with pytest.raises(ConfigurationError):
                session.token = bad
        assert session.token == token


def test_a_session_for_shapeshifter(sandbox: Sandbox, clock: Clock) -> None:
    """ensure_authenticated fetches a token if there is no usable one; auth_header holds it and does not show it."""
    with sandbox.session() as session:
        for _ in range(2):
            with session.ensure_authenticated():
                assert len(sandbox.token_requests) == 1
                answer = requests.get(sandbox.api_url, headers=session.auth_header, verify=sandbox.ca_file)
            assert answer.status_code == 200
        assert len(sandbox.token_requests) == 1
        clock.advance(300)
        assert session.auth_header == {"Authorization": f"Bearer {session.access_token}"}
        assert str(session.access_token) not in repr(session.auth_header)
    assert len(sandbox.token_requests) == 2


def test_used_in_a_with_block_it_closes_its_adapters() -> None:
    """Leaving the block closes the adapters, as in requests."""
    closed = []

    class Adapter(HTTPAdapter):
        def close(self) -> None:
            closed.append(self)
            super().close()

    adapter = Adapter()
    with GopacsSession("trader", "s3cret") as session:
        session.mount("https://", adapter)
    assert closed == [adapter]


def test_what_the_adapter_gets_can_be_recorded(sandbox: Sandbox) -> None:
    """Headers are of plain strings, as those who record requests need them; only the repr hides the token."""
    with sandbox.session() as session:
        headers = session.get(sandbox.api_url).request.headers
        assert {type(value) for value in headers.values()} == {str}
        assert headers["Authorization"] == f"Bearer {session.access_token}"
        assert str(session.access_token) not in f"{headers!r} {headers}"


@pytest.mark.parametrize("host", ["bücher.example", "BÜCHER.example", "xn--bcher-kva.example"])
@pytest.mark.parametrize("machine", ["bücher.example", "xn--bcher-kva.example"])
def test_netrc_is_looked_up_as_in_requests(host: str, machine: str) -> None:
    """For a foreign host netrc is looked up by the name that the caller wrote, and by no other spelling."""
    Path(os.environ["NETRC"]).write_text(f"machine {machine} login user password secret\n", encoding="utf-8")
    request = requests.Request("GET", f"https://{host}/")
    ours = GopacsSession("trader", "s3cret", "acceptance").prepare_request(request)
    plain = requests.Session().prepare_request(request)
    assert ours.headers.get("Authorization") == plain.headers.get("Authorization")


def test_a_session_that_is_dropped_is_freed(sandbox: Sandbox) -> None:
    """A session that nobody closed gives its memory and its connections back, as in requests."""
    session = sandbox.session()
    session.get(sandbox.api_url)
    adapter: Any = session.get_adapter(sandbox.api_url)
    [pool] = adapter.poolmanager.pools._container.values()
    connection, alive = pool.pool.queue[-1], weakref.ref(session)
    assert connection.sock is not None
    del session, adapter, pool
    gc.collect()
    assert (alive(), connection.sock) == (None, None)
