"""What happens when an API refuses a token that seemed good."""

from __future__ import annotations

import io
import logging
import math
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
import requests
import requests_mock
from requests.hooks import dispatch_hook
from servers import TOKEN, Authority, http, raw
from support import Clock, Offline, at_once, in_background

from gopacs_session import GopacsAuth, GopacsSession
from gopacs_session.sandbox import Sandbox

XML = b"<message/>"


def test_a_revoked_token_is_renewed_and_the_request_replayed(
    sandbox: Sandbox, revoked: GopacsSession, caplog: pytest.LogCaptureFixture
) -> None:
    """The caller and their hooks see the final answer alone; the history has the refusal, and the log a line."""
    caplog.set_level(logging.INFO)
    seen: list[int] = []
    own = {"response": lambda answer, **_: seen.append(answer.status_code)}
    answer = revoked.get(f"{sandbox.api_url}/messages?key=q", hooks=own)
    assert revoked.get(f"{sandbox.api_url}/messages").status_code == 200
    assert [answer.status_code, *(earlier.status_code for earlier in answer.history)] == [200, 401]
    assert seen == [200]
    assert timedelta(0) < answer.elapsed < timedelta(hours=1)
    assert [(exchange.status, exchange.token_number) for exchange in sandbox.api_requests] == [
        (401, 1),
        (200, 2),
        (200, 2),
    ]
    assert caplog.messages[-1].startswith("localhost/messages refused a token (401), and accepted the replay")


BODIES: dict[str, Callable[[], dict[str, Any]]] = {
    "none": dict,
    "str": lambda: {"data": "<message/>"},
    "bytes": lambda: {"data": XML},
    "bytearray": lambda: {"data": bytearray(XML)},
    "memoryview": lambda: {"data": memoryview(XML)},
    "file": lambda: {"data": io.BytesIO(XML)},
    "json": lambda: {"json": {"volume": 3}},
    "multipart": lambda: {"files": {"message": ("m.xml", XML, "text/xml")}, "data": {"a": "1"}},
}


@pytest.mark.parametrize("kind", BODIES)
def test_the_replay_has_the_same_body(sandbox: Sandbox, revoked: GopacsSession, kind: str) -> None:
    """Whatever the body was made of, it arrives the second time as it did the first."""
    assert revoked.post(f"{sandbox.api_url}/message", **BODIES[kind]()).status_code == 200
    first, second = sandbox.api_requests
    assert (first.status, first.body) == (401, second.body)
    assert (XML in second.body) == (kind not in ("json", "none"))
    assert first.headers.get("Content-Type") == second.headers.get("Content-Type")


def unseekable(error: Exception) -> type[io.BytesIO]:
    class File(io.BytesIO):
        def seek(self, *args: Any) -> int:
            raise error

        def __len__(self) -> int:
            return len(XML)

    return File


ONCE = {"generator": lambda xml: iter([xml]), "pipe": unseekable(OSError()), "closed file": unseekable(ValueError())}


@pytest.mark.parametrize("kind", ONCE)
def test_a_body_that_cannot_be_sent_again_is_not(
    clock: Clock, sandbox: Sandbox, revoked: GopacsSession, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    """The caller gets the 401, to be read; the next request has a new token, which is not renewed for 5 s either."""
    sandbox.answer_next_api_requests(12, 401, body=b"why")
    statuses = []
    for _ in range(13):
        with revoked.post(f"{sandbox.api_url}/message", data=ONCE[kind](XML), stream=True) as answer:
            statuses.append(answer.status_code)
            assert (answer.raw.read() == b"why") == (answer.status_code == 401)
        clock.advance(1)
    assert statuses == [401] * 12 + [200]
    assert [exchange.body for exchange in sandbox.api_requests] == [XML] * 13
    assert [exchange.token_number for exchange in sandbox.api_requests] == [1] + [2] * 6 + [3] * 6
    assert "the request can't be sent again" in caplog.messages[0]


def test_a_second_refusal_goes_to_the_caller(
    clock: Clock, sandbox: Sandbox, revoked: GopacsSession, caplog: pytest.LogCaptureFixture
) -> None:
    """It costs one renewal and two calls."""
    sandbox.answer_next_api_requests(2, 401, headers={"WWW-Authenticate": 'Bearer error="invalid_token"'})
    answer = revoked.get(f"{sandbox.api_url}/messages?key=q")
    assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, 'Bearer error="invalid_token"')
    clock.advance(60)
    assert dispatch_hook("response", answer.request.hooks, answer) is answer  # Once more, as requests-cache does.
    assert (len(sandbox.api_requests), len(sandbox.token_requests)) == (2, 2)
    assert caplog.messages[0].startswith("localhost/messages refused a token (401)")


def test_an_api_that_refuses_for_ever_costs_a_renewal_each_5_seconds(
    clock: Clock, sandbox: Sandbox, revoked: GopacsSession, caplog: pytest.LogCaptureFixture
) -> None:
    """8 threads that an API refuses for ever cost no token request while the last is younger than 5 s."""
    sandbox.answer_next_api_requests(math.inf, 401)
    for _ in range(12):
        assert [answer.status_code for answer in at_once(8, lambda: revoked.get(sandbox.api_url))] == [401] * 8
        clock.advance(1)
    assert len(sandbox.token_requests) == 1 + 3
    assert caplog.messages[-1].endswith("replaced another refused one.")
    clock.wall -= 3600  # which makes no token young for an hour
    assert (revoked.get(sandbox.api_url).status_code, len(sandbox.token_requests)) == (401, 1 + 4)


def test_a_late_refusal_of_an_older_token_changes_nothing(sandbox: Sandbox, session: GopacsSession) -> None:
    """A token whose request can't be sent again is not used any more, whatever was refused since."""
    late = session.prepare_request(requests.Request("POST", sandbox.api_url, data=iter([XML])))
    session.fetch_token()
    sandbox.revoke_tokens()
    statuses = [session.post(sandbox.api_url, data=iter([XML])).status_code, session.send(late).status_code]
    assert [*statuses, session.post(sandbox.api_url, data=iter([XML])).status_code] == [401, 401, 200]


def test_an_api_whose_clock_is_behind(clock: Clock, sandbox: Sandbox, session: GopacsSession) -> None:
    """An API that refuses each token in its first half second costs half a second of 401s, and one renewal."""
    sandbox.answer_next_api_requests(2 + 4, 401)
    statuses = []
    for _ in range(10):
        statuses.append(session.get(sandbox.api_url).status_code)
        clock.advance(0.1)
    assert statuses == [401] * 5 + [200] * 5
    assert len(sandbox.token_requests) == 2


def test_16_threads_with_a_refused_token_cost_one_renewal(sandbox: Sandbox, revoked: GopacsSession) -> None:
    """However soon after the last one a revocation comes, all share one renewal, once an API accepted a replay."""
    for times in range(1, 6):
        answers = at_once(16, lambda: revoked.get(sandbox.api_url))
        assert [answer.status_code for answer in answers] == [200] * 16
        assert len(sandbox.token_requests) == 1 + times
        sandbox.revoke_tokens()


CHALLENGES = {
    (401, ""): True,
    (401, 'Bearer error="invalid_token", error_description="no error=insufficient_scope"'): True,
    (401, 'Bearer realm="a \\" error=insufficient_scope"'): True,
    (401, 'Bearer realm="without end, error=insufficient_scope'): True,
    (401, 'Bearer last_error="insufficient_scope"'): True,
    (401, 'Bearer realm="gopacs", Error="INSUFFICIENT_SCOPE", scope="x"'): False,
    (403, 'Bearer error="invalid_token"'): True,
    (403, "Basic realm=x, Bearer realm=y,error = invalid_token"): True,
    (403, 'Bearer last_error="invalid_token"'): False,
    (403, 'Bearer error="insufficient_scope", error_description="error=invalid_token"'): False,
    (403, 'Bearer error_uri="https://localhost/?error=invalid_token"'): False,
    (403, ""): False,
    (404, 'Bearer error="invalid_token"'): False,
}


@pytest.mark.parametrize(("status", "challenge"), CHALLENGES)
def test_the_challenge_says_what_is_refused(
    sandbox: Sandbox, revoked: GopacsSession, status: int, challenge: str
) -> None:
    """A 401 is replayed unless the token's scope is too narrow, and a 403 if it says that the token is invalid."""
    sandbox.answer_next_api_requests(1, status, headers={"WWW-Authenticate": challenge})
    replayed = CHALLENGES[status, challenge]
    assert revoked.get(sandbox.api_url).status_code == (200 if replayed else status)
    assert len(sandbox.token_requests) == (2 if replayed else 1)


def test_the_replay_goes_through_the_same_adapter(session: GopacsSession, sandbox: Sandbox) -> None:
    """A mounted adapter sends both the refused request and the replay, with the same options of the call."""
    adapter, url = requests_mock.Adapter(), f"{sandbox.api_url}/mounted"
    adapter.register_uri("GET", url, [{"status_code": 401}, {"status_code": 200}])
    session.mount(url, adapter)
    proxies = {"https": "http://127.0.0.1:1"}
    assert session.get(url, timeout=(3, 7), verify="ca.pem", cert="client.pem", proxies=proxies).status_code == 200
    sent = [(request.timeout, request.verify, request.cert, request.proxies) for request in adapter.request_history]
    assert sent == [((3, 7), "ca.pem", "client.pem", proxies)] * 2


@pytest.mark.parametrize("refusals", [{}, {"Set-Cookie": "node=2; Path=/"}], ids=["no cookie", "cookie"])
def test_cookies_of_a_refusal_go_along(sandbox: Sandbox, revoked: GopacsSession, refusals: dict[str, str]) -> None:
    """Its cookies go with the replay and stay; if it sets none, the caller's Cookie header stays as it was."""
    prepared = revoked.prepare_request(requests.Request("GET", sandbox.api_url, cookies={"own": "1"}))
    prepared.headers["Cookie"] += "; written=2"
    sandbox.answer_next_api_requests(1, 401, headers=refusals)
    revoked.send(prepared)
    sent = ["own=1; written=2", "node=2; own=1" if refusals else "own=1; written=2"]
    assert ["; ".join(sorted(exchange.headers["Cookie"].split("; "))) for exchange in sandbox.api_requests] == sent
    assert revoked.cookies.get_dict() == ({"node": "2"} if refusals else {})


@pytest.mark.parametrize("options", [{"auth": ("user", "password")}, {"withhold_token": True}], ids=str)
def test_a_401_to_a_request_without_our_token_is_the_callers(
    sandbox: Sandbox, revoked: GopacsSession, options: dict[str, Any]
) -> None:
    """A request with credentials of the caller's, or with none, is sent once and costs no renewal."""
    assert revoked.get(sandbox.api_url, **options).status_code == 401
    prepared = revoked.prepare_request(requests.Request("GET", sandbox.api_url))
    prepared.headers["Authorization"] = "Bearer of-another-system"
    assert revoked.send(prepared).status_code == 401
    assert (len(sandbox.api_requests), len(sandbox.token_requests)) == (2, 1)


@pytest.mark.parametrize("stream", [False, True])
def test_one_connection_serves_refusal_and_renewal(sandbox: Sandbox, revoked: GopacsSession, stream: bool) -> None:
    """With a pool of one blocking connection for both servers, a refusal leads to no deadlock."""
    adapter: Any = revoked.get_adapter(sandbox.api_url)
    adapter.init_poolmanager(1, 1, block=True)
    sandbox.answer_next_api_requests(1, 401, body=bytes(1_000_000))
    with in_background(lambda: revoked.get(sandbox.api_url, stream=stream)).result(10) as answer:
        assert answer.status_code == 200


class Bare(Offline):
    """Answers 401 with nothing in the response that could be left out."""

    def __init__(self, *, tells_the_request: bool) -> None:
        super().__init__(401)
        self.tells_the_request, self.sent = tells_the_request, 0

    def send(self, request: requests.PreparedRequest, *args: Any, **options: Any) -> requests.Response:
        self.sent += 1
        answer = super().send(request)
        answer._content = False  # There is nothing to read it from either.
        answer.request = request if self.tells_the_request else None
        return answer


def test_an_adapter_that_says_little(sandbox: Sandbox, session: GopacsSession) -> None:
    """A refusal without body, request or adapter goes to the caller, where that is needed to replay the request.

    Where it is known whose token was refused, the next request gets another.
    """
    auth = GopacsAuth(sandbox.client_id, sandbox.client_secret, sandbox.environment)
    session.token = auth.token = {"access_token": "stored"}
    with requests.Session() as plain:
        plain.auth = auth
        for sender, tells, times in [(session, False, 1), (plain, False, 1), (plain, True, 1), (session, True, 2)]:
            bare = Bare(tells_the_request=tells)
            sender.mount(f"{sandbox.api_url}/bare", bare)
            assert sender.get(f"{sandbox.api_url}/bare").status_code == 401
            assert bare.sent == times
        sandbox.trust(plain)
        assert plain.get(sandbox.api_url).status_code == 200
    assert sandbox.api_requests[-1].token_number == 2


LENGTH, CHUNKS = "Content-Length: 999999999", "Transfer-Encoding: chunked"


@pytest.mark.parametrize("header, part", [(LENGTH, b" "), (LENGTH, bytes(65536)), (CHUNKS, b"1\r\n \r\n")])
def test_a_refusal_without_end_is_not_read(authority: Authority, header: str, part: bytes) -> None:
    """A refusal that drips, or is huge, does not keep the replay waiting, and leaves nothing in the history."""
    answered, in_time = threading.Event(), []

    def refusal(_: bytes) -> Iterator[bytes]:
        yield http(b"", header, status="401 No")
        for _part in range(5000):
            if answered.wait(0.002):
                break
            yield part
        in_time.append(answered.is_set())

    token = raw(http(TOKEN, "Connection: close"))
    with authority.server(token, refusal, token, raw(http(b"final"))) as server:
        with GopacsSession("client", "the-secret", server.environment) as session:
            session.verify = authority.ca_file
            answer = session.get(server.environment.token_url)
            assert (answer.content, answer.history[0].content) == (b"final", b"")
        answered.set()
    assert in_time in ([True], [])  # Nothing where it met the closed connection first.
