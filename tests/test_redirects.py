"""Where the token goes when the API redirects, and when the host is not GOPACS's."""

from __future__ import annotations

import http.server
import math
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import requests_mock
from requests.adapters import BaseAdapter, HTTPAdapter
from support import Clock

from gopacs_session import GopacsAuth, GopacsSession, WrongEnvironmentError
from gopacs_session.sandbox import Sandbox

REDIRECTS = [301, 302, 303, 307, 308]


@pytest.fixture
def other() -> Iterator[Sandbox]:
    """Another server; ``localhost`` belongs to the session's environment, and 127.0.0.1 does not."""
    with Sandbox() as other:
        yield other


def foreign(server: Sandbox) -> str:
    return server.api_url.replace("localhost", "127.0.0.1") + "/foreign"


def write_netrc(*hosts: str) -> None:
    Path(os.environ["NETRC"]).write_text("".join(f"machine {host} login user password from-netrc\n" for host in hosts))


def trusting(server: Sandbox, session: requests.Session) -> requests.Session:
    """`session`, which also trusts `server` under its IP address."""
    server.trust(session)
    session.mount(foreign(server), session.get_adapter(f"{server.api_url}/"))
    session.mount(foreign(server).replace("//", "//url-user:password@"), session.get_adapter(f"{server.api_url}/"))
    return session


@pytest.mark.parametrize("status", REDIRECTS)
def test_the_token_is_dropped_when_a_redirect_leaves(sandbox: Sandbox, other: Sandbox, status: int) -> None:
    """A redirect to a foreign host is followed without the token, and without netrc's credentials for that host."""
    write_netrc("127.0.0.1", "localhost")
    sandbox.answer_next_api_requests(1, status, headers={"Location": foreign(other)})
    with sandbox.session() as session:
        session.trust_env = True
        trusting(other, session).get(f"{sandbox.api_url}/participants")
    assert sandbox.api_requests[0].token_number == 1
    assert [exchange.authorization for exchange in other.api_requests] == [None]


def test_what_a_call_trusts_holds_along_a_redirect(sandbox: Sandbox, other: Sandbox, tmp_path: Path) -> None:
    """A bundle that the caller names verifies the foreign host that a redirect leads to, too."""
    bundle = tmp_path / "both.pem"
    bundle.write_text("".join(Path(server.ca_file).read_text() for server in (sandbox, other)))
    sandbox.answer_next_api_requests(1, 302, headers={"Location": foreign(other)})
    with sandbox.session() as session:
        assert session.get(f"{sandbox.api_url}/participants", verify=str(bundle)).status_code == 401
    assert len(other.api_requests) == 1


@pytest.mark.parametrize("status", REDIRECTS)
def test_the_token_is_kept_between_the_environments_hosts(sandbox: Sandbox, other: Sandbox, status: int) -> None:
    """A redirect to another host or port of the environment bears the token, not netrc's credentials."""
    write_netrc("localhost")
    sandbox.answer_next_api_requests(1, status, headers={"Location": f"{other.api_url}/moved"})
    other.answer_next_api_requests(1, 200)
    with sandbox.session() as session:
        session.trust_env = True
        other.trust(session)
        session.get(f"{sandbox.api_url}/participants")
        bore_the_token = [exchange.authorization == f"Bearer {session.access_token}" for exchange in other.api_requests]
    assert bore_the_token == [True]


def test_a_redirect_within_one_host_bears_the_token(sandbox: Sandbox) -> None:
    """The usual redirect to another path arrives with the token, and the caller's hooks see both answers."""
    seen = []
    sandbox.answer_next_api_requests(1, 302, headers={"Location": "/moved"})
    with sandbox.session() as session:
        session.hooks["response"].append(lambda answer, **_: seen.append(answer.status_code))
        session.get(f"{sandbox.api_url}/participants")
    assert seen == [302, 200]
    assert [exchange.token_number for exchange in sandbox.api_requests] == [1, 1]


def test_a_token_dropped_on_the_way_does_not_come_back(sandbox: Sandbox, other: Sandbox) -> None:
    """A chain that left the environment and returns bears no credentials any more."""
    write_netrc("127.0.0.1", "localhost")
    sandbox.answer_next_api_requests(1, 302, headers={"Location": foreign(other)})
    other.answer_next_api_requests(1, 302, headers={"Location": f"{sandbox.api_url}/back"})
    with sandbox.session() as session:
        session.trust_env = True
        answer = trusting(other, session).get(f"{sandbox.api_url}/participants")
    assert answer.status_code == 401
    assert [exchange.authorization is None for exchange in sandbox.api_requests] == [False, True]


def test_a_redirect_after_a_replay_bears_the_new_token(sandbox: Sandbox, other: Sandbox) -> None:
    """A refused request that is replayed and then redirected arrives with the token that is good."""
    with sandbox.session() as session:
        session.get(f"{sandbox.api_url}/warm")
        sandbox.answer_next_api_requests(1, 401)
        sandbox.answer_next_api_requests(1, 307, headers={"Location": "/moved"})
        answer = session.post(f"{sandbox.api_url}/message", data=b"<message/>")
    assert answer.status_code == 200
    assert [exchange.token_number for exchange in sandbox.api_requests] == [1, 1, 2, 2]
    assert [exchange.body for exchange in sandbox.api_requests[1:]] == [b"<message/>"] * 3


class PlainHttp(http.server.BaseHTTPRequestHandler):
    """An http server that keeps what it is told."""

    seen: list[str | None]

    def do_GET(self) -> None:
        self.seen.append(self.headers.get("Authorization"))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def plain_http() -> Iterator[http.server.HTTPServer]:
    PlainHttp.seen = []
    with http.server.HTTPServer(("127.0.0.1", 0), PlainHttp) as server:
        thread = threading.Thread(target=server.serve_forever, args=[0.01])
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_a_redirect_to_http_bears_nothing(sandbox: Sandbox, plain_http: http.server.HTTPServer, host: str) -> None:
    """A redirect to http, on the environment's host or elsewhere, is followed without the token, as by requests."""
    write_netrc("localhost", "127.0.0.1")
    sandbox.answer_next_api_requests(1, 302, headers={"Location": f"http://{host}:{plain_http.server_port}/"})
    with sandbox.session() as session:
        session.trust_env = True
        assert session.get(f"{sandbox.api_url}/participants").status_code == 200
    assert PlainHttp.seen == [None]


@pytest.mark.parametrize("url", ["https://api.gopacs-services.eu/", "https://api.acc.gopacs-services.eu/x"])
def test_a_redirect_to_a_gopacs_environment_is_refused(sandbox: Sandbox, url: str) -> None:
    """A redirect into another environment raises, and nothing is sent there."""
    sandbox.answer_next_api_requests(1, 307, headers={"Location": url})
    with sandbox.session() as session, pytest.raises(WrongEnvironmentError):
        session.post(f"{sandbox.api_url}/message", data=b"<message/>")


def test_a_foreign_host_gets_netrcs_credentials(sandbox: Sandbox, other: Sandbox) -> None:
    """A request to a foreign host is the plain one, netrc included, and fetches no token."""
    write_netrc("127.0.0.1")
    with sandbox.session() as session:
        session.trust_env = True
        trusting(other, session).get(foreign(other))
        session.trust_env = False
        session.get(foreign(other))
        session.get(foreign(other).replace("//", "//url-user:password@"))
    assert [exchange.authorization for exchange in other.api_requests] == [
        requests.auth._basic_auth_str("user", "from-netrc"),
        None,
        requests.auth._basic_auth_str("url-user", "password"),
    ]
    assert sandbox.token_requests == []


def test_a_foreign_redirect_into_the_environment_brings_no_token(sandbox: Sandbox, other: Sandbox) -> None:
    """A foreign host can't make the session send an authenticated request."""
    other.answer_next_api_requests(1, 307, headers={"Location": f"{sandbox.api_url}/message"})
    with sandbox.session() as session:
        answer = trusting(other, session).post(foreign(other), data=b"<forged/>")
    assert answer.status_code == 401
    assert sandbox.token_requests == []
    assert [exchange.authorization for exchange in sandbox.api_requests] == [None]


@pytest.mark.parametrize("trust_env", [True, False])
def test_a_withheld_token_makes_room_for_netrc(sandbox: Sandbox, trust_env: bool) -> None:
    """With withhold_token=True netrc's credentials go out, as from requests, unless trust_env is off."""
    write_netrc("localhost")
    with sandbox.session() as session:
        session.trust_env = trust_env
        session.get(sandbox.api_url, withhold_token=True)
    sent = sandbox.api_requests[0].headers.get("Authorization")
    assert sent == (requests.auth._basic_auth_str("user", "from-netrc") if trust_env else None)
    assert sandbox.token_requests == []


def test_netrc_and_credentials_in_the_url_give_way_to_the_token(sandbox: Sandbox) -> None:
    """On the environment's hosts the token is what goes out, whatever netrc and the URL say."""
    write_netrc("localhost")
    with sandbox.session() as session:
        session.trust_env = True
        session.mount("https://", session.get_adapter(f"{sandbox.api_url}/"))
        session.get(f"{sandbox.api_url}/participants").raise_for_status()
        session.get(f"{sandbox.api_url}/participants".replace("//", "//user:password@")).raise_for_status()
    assert [exchange.token_number for exchange in sandbox.api_requests] == [1, 1]


@pytest.mark.parametrize("location", ["https://api.gopacs-services.eu/", "http://localhost/", "/moved"])
def test_a_redirect_that_nobody_follows_harms_nobody(sandbox: Sandbox, location: str) -> None:
    """An executed request whose answer redirects is never lost: without following, the caller gets that answer."""
    sandbox.answer_next_api_requests(2, 303, headers={"Location": location})
    with sandbox.session() as session:
        answer = session.post(f"{sandbox.api_url}/message", data=b"<message/>", allow_redirects=False)
        assert answer.status_code == session.head(f"{sandbox.api_url}/message").status_code == 303
        if "api.gopacs" in location:
            with pytest.raises(WrongEnvironmentError):
                session.send(answer.next)


@pytest.mark.parametrize("leaves", [False, True], ids=["within a host", "elsewhere"])
def test_the_callers_own_header_stays_on_its_host(sandbox: Sandbox, other: Sandbox, leaves: bool) -> None:
    """An Authorization that the caller put on a prepared request is kept or dropped by a redirect as by requests."""
    sandbox.answer_next_api_requests(1, 302, headers={"Location": foreign(other) if leaves else "/moved"})
    with sandbox.session() as session:
        prepared = session.prepare_request(requests.Request("GET", f"{sandbox.api_url}/participants"))
        prepared.headers["Authorization"] = "Bearer of-another-system"
        [earlier] = trusting(other, session).send(prepared).history
    assert earlier.request.headers["Authorization"] == "Bearer of-another-system"
    assert sandbox.api_requests[0].authorization == "Bearer of-another-system"
    arrived = (other if leaves else sandbox).api_requests[-1]
    assert arrived.authorization == (None if leaves else "Bearer of-another-system")


def test_a_token_that_is_taken_away_along_a_redirect(sandbox: Sandbox) -> None:
    """If the session has no token any more when a redirect is followed, the request goes on without. Hooks see all."""
    sandbox.answer_next_api_requests(1, 302, headers={"Location": "/moved"})
    seen = []

    def forget(answer: requests.Response, **_: Any) -> None:
        seen.append(answer.status_code)
        session.token = None

    with sandbox.session() as session:
        session.get(f"{sandbox.api_url}/participants", hooks={"response": forget})
    assert [exchange.token_number for exchange in sandbox.api_requests] == [1, None]
    assert seen == [302, 401]


def test_history_shows_no_token(sandbox: Sandbox) -> None:
    """The requests of earlier answers, refused or redirected, tell that they bore a token, but not which."""
    with sandbox.session() as session:
        session.get(f"{sandbox.api_url}/warm")
        sandbox.answer_next_api_requests(1, 401)
        sandbox.answer_next_api_requests(2, 302, headers={"Location": "/moved"})
        answer = session.get(f"{sandbox.api_url}/participants")
        assert answer.status_code == 200
        assert [earlier.status_code for earlier in answer.history] == [302, 302]
        assert [earlier.request.headers["Authorization"] for earlier in answer.history] == ["Bearer ***"] * 2
        assert answer.request.headers["Authorization"] == f"Bearer {session.access_token}"


class Bare(BaseAdapter):
    """Redirects once, in answers that do not tell their request."""

    def __init__(self, url: str) -> None:
        self.answers = [(302, {"Location": url}), (200, {})]

    def send(self, request: requests.PreparedRequest, *args: Any, **options: Any) -> requests.Response:
        answer = requests.Response()
        answer.status_code, headers = self.answers.pop(0)
        answer.headers.update(headers)
        return answer

    def close(self) -> None:
        """There is nothing to close."""


def test_an_answer_that_does_not_tell_its_request_may_redirect() -> None:
    """Some adapters leave it out, and there is nothing to hide in it then."""
    url = "https://api.gopacs-services.eu/"
    with GopacsSession("trader", "s3cret") as session:
        session.token = {"access_token": "stored"}
        session.mount(url, Bare(url))
        assert [earlier.request for earlier in session.get(url).history] == [None]


def test_history_shows_the_callers_own_authorization(sandbox: Sandbox) -> None:
    """The requests of earlier answers show credentials of the caller's own, and his hooks see them, as in requests."""
    seen = []
    hooks = {"response": lambda answer, **_: seen.append(answer.status_code)}
    sandbox.answer_next_api_requests(2, 302, headers={"Location": "/moved"})
    with sandbox.session() as session:
        answer = session.get(f"{sandbox.api_url}/participants", auth=("user", "password"), hooks=hooks)
    assert seen == [302, 302, 401]
    shown = [earlier.request.headers["Authorization"] for earlier in answer.history]
    assert shown == [answer.request.headers["Authorization"]] * 2


def test_a_redirect_to_http_on_an_own_host_is_no_other_environment() -> None:
    """A redirect to http within one of GOPACS's environments is followed without the token, as elsewhere."""
    with requests_mock.Mocker() as mock, GopacsSession("trader", "s3cret") as session:
        session.token = {"access_token": "stored"}
        there = "http://api.gopacs-services.eu/there"
        mock.get("https://api.gopacs-services.eu/", status_code=302, headers={"Location": there})
        mock.get(there)
        assert session.get("https://api.gopacs-services.eu/").status_code == 200
        assert ["Authorization" in request.headers for request in mock.request_history] == [True, False]


# -- a token whose time is over once the request has been executed -----------------------------------------------------


@pytest.fixture(params=["session", "auth"])
def sender(request: pytest.FixtureRequest, clock: Clock, sandbox: Sandbox) -> Iterator[requests.Session]:
    """A session whose token is neither usable nor good any more as soon as it has got an answer."""

    def expire(*_: object, **__: object) -> None:
        clock.advance(300)
        sandbox.revoke_tokens()

    session: requests.Session = sandbox.session()
    if request.param == "auth":
        session = requests.Session()
        session.trust_env = False
        sandbox.trust(session)
        session.auth = GopacsAuth(sandbox.client_id, sandbox.client_secret, sandbox.environment)
    session.hooks["response"].append(expire)
    with session:
        yield session


@pytest.mark.usefixtures("pauses")
def test_an_outage_does_not_hide_an_executed_request(sandbox: Sandbox, sender: requests.Session) -> None:
    """A POST that was executed and redirected ends in a response with it in its history, not in an error."""
    sandbox.answer_next_api_requests(1, 303, headers={"Location": "/result"})
    sandbox.answer_next_api_requests(1, 401, body=b"why")
    sandbox.answer_next_token_requests(1, 200, body={"access_token": "abc", "token_type": "Bearer", "expires_in": 300})
    sandbox.answer_next_token_requests(math.inf, 503)
    answer = sender.post(f"{sandbox.api_url}/message", data=b"<message/>")
    assert (answer.status_code, answer.content) == (401, b"why")
    assert [earlier.status_code for earlier in answer.history] == [303]
    assert [exchange.method for exchange in sandbox.api_requests] == ["POST", "GET"]


def test_a_redirect_that_nobody_follows_costs_no_token(sandbox: Sandbox, sender: requests.Session) -> None:
    """With allow_redirects=False, no token is asked for on account of a redirect that is not followed."""
    sandbox.answer_next_api_requests(1, 303, headers={"Location": "/result"})
    answer = sender.post(f"{sandbox.api_url}/message", data=b"<message/>", allow_redirects=False)
    assert answer.status_code == 303
    assert len(sandbox.token_requests) == len(sandbox.api_requests) == 1


def test_a_redirect_is_followed_with_a_new_token_if_it_has_to_be(sandbox: Sandbox, sender: requests.Session) -> None:
    """A token that does not outlive a request is replaced where the redirect leads, and the POST goes out once."""
    sandbox.answer_next_api_requests(1, 303, headers={"Location": "/result"})
    answer = sender.post(f"{sandbox.api_url}/message", data=b"<message/>")
    assert answer.status_code == 200
    sent = [(exchange.method, exchange.status) for exchange in sandbox.api_requests]
    assert sent == [("POST", 303), ("GET", 401), ("GET", 200)]


def test_an_environments_ca_bundle_goes_along_no_redirect(sandbox: Sandbox, other: Sandbox) -> None:
    """A foreign host that the API redirects to is verified as any other, and not by the environment's ca_bundle."""
    sandbox.answer_next_api_requests(1, 302, headers={"Location": foreign(other)})
    seen: list[Any] = []

    class Recorder(HTTPAdapter):
        def send(self, request: requests.PreparedRequest, **options: Any) -> requests.Response:
            seen.append(options["verify"])
            return super().send(request, **{**options, "verify": other.ca_file})

    with sandbox.session() as session:
        session.mount("https://127.0.0.1", Recorder())
        assert session.get(f"{sandbox.api_url}/participants").status_code == 401
    assert seen == [True]


def test_an_answer_that_redirects_shows_what_was_sent(sandbox: Sandbox) -> None:
    """Where a redirect is not followed, the answer's request is the one that was sent, and can be sent again."""
    sandbox.answer_next_api_requests(1, 302, headers={"Location": "/moved"})
    with sandbox.session() as session:
        answer = session.get(f"{sandbox.api_url}/participants", allow_redirects=False)
        assert session.send(answer.request).status_code == 200
