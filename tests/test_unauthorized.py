"""What happens when the API answers 401 to a token that seemed good."""

from __future__ import annotations

import array
import gzip
import io
import logging
import math
import mmap
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import IO, Any

import pytest
import requests
from requests.adapters import BaseAdapter
from requests.hooks import dispatch_hook
from servers import TOKEN, Answer, Authority, LateSandbox, RawServer, chunked, http, raw
from support import Clock, Offline, at_once, in_background

from gopacs_session import AuthorizationServerError, GopacsAuth, GopacsSession, InvalidClientError, bearer
from gopacs_session.sandbox import Sandbox


def test_a_revoked_token_is_replaced_and_the_request_replayed(sandbox: Sandbox, revoked: GopacsSession) -> None:
    """A request whose token was revoked early is sent again with a new one; the caller sees the final answer."""
    answer = revoked.get(f"{sandbox.api_url}/participants")
    assert answer.status_code == 200
    assert [(exchange.status, exchange.token_number) for exchange in sandbox.api_requests] == [(401, 1), (200, 2)]
    assert len(sandbox.token_requests) == 2
    assert [earlier.status_code for earlier in answer.history] == [401]
    assert timedelta(0) < answer.elapsed < timedelta(hours=1)


XML = b"<skipped/><message/>"
BODIES: dict[str, Callable[[], dict[str, Any]]] = {
    "bytes": lambda: {"data": b"<message/>"},
    "text": lambda: {"data": "<message/>"},
    "bytearray": lambda: {"data": bytearray(b"<message/>")},
    "memoryview": lambda: {"data": memoryview(b"<message/>")},
    "array": lambda: {"data": array.array("B", b"<message/>")},
    "mmap": lambda: {"data": read(mapped(XML), 10)},
    "BytesIO": lambda: {"data": read(io.BytesIO(XML), 10)},
    "form": lambda: {"data": {"a": "1", "b": ["2", "3"]}},
    "json": lambda: {"json": {"volume": 3}},
    "multipart": lambda: {"files": {"message": ("m.xml", b"<message/>", "text/xml")}, "data": {"a": "1"}},
    "none": dict,
}


def mapped(content: bytes) -> Any:
    memory = mmap.mmap(-1, len(content))
    memory[:] = content
    return memory


def read(file: IO[bytes], size: int) -> IO[bytes]:
    """`file`, which stands behind its first `size` bytes."""
    file.read(size)
    return file


@pytest.mark.parametrize("kind", BODIES)
def test_the_replay_carries_the_same_body(sandbox: Sandbox, revoked: GopacsSession, kind: str) -> None:
    """Whatever the body was made of, it arrives the second time as it did the first."""
    assert revoked.post(f"{sandbox.api_url}/message", **BODIES[kind]()).status_code == 200
    first, second = sandbox.api_requests
    assert (first.status, second.status) == (401, 200)
    assert first.body == second.body
    assert (b"<message/>" in second.body) == (kind not in ("form", "json", "none"))
    assert b"skipped" not in second.body
    assert first.headers.get("Content-Type") == second.headers.get("Content-Type")


def test_a_file_is_rewound_to_where_it_stood(sandbox: Sandbox, revoked: GopacsSession, tmp_path: Path) -> None:
    """A file that was read in part before the request is sent from there both times, not from its start."""
    path = tmp_path / "message.xml"
    path.write_bytes(XML)
    with path.open("rb") as file:
        assert revoked.post(f"{sandbox.api_url}/message", data=read(file, 10)).status_code == 200
    assert [exchange.body for exchange in sandbox.api_requests] == [b"<message/>"] * 2


def test_a_generator_is_not_replayed(sandbox: Sandbox, revoked: GopacsSession) -> None:
    """A body that can't be sent twice is not: the caller gets the 401, and the next request has a new token."""
    answer = revoked.post(f"{sandbox.api_url}/message", data=(part for part in [b"<mess", b"age/>"]))
    assert answer.status_code == 401
    assert [exchange.body for exchange in sandbox.api_requests] == [b"<message/>"]
    assert revoked.post(f"{sandbox.api_url}/message", data=iter([b"<message/>"])).status_code == 200
    assert [exchange.token_number for exchange in sandbox.api_requests] == [1, 2]


def test_a_generator_that_is_not_replayed_leaves_the_refusal_to_be_read(
    sandbox: Sandbox, revoked: GopacsSession
) -> None:
    """With stream=True, the body of a 401 to an unrepeatable request is the caller's to read."""
    sandbox.answer_next_api_requests(1, 401, body=b"why")
    with revoked.post(f"{sandbox.api_url}/message", data=iter([b"<message/>"]), stream=True) as answer:
        assert (answer.status_code, answer.raw.read()) == (401, b"why")


class Pipe(io.BytesIO):
    """A file that can't be rewound."""

    def seek(self, *args: Any) -> int:
        raise OSError("not seekable")


class SelfClosing(io.BytesIO):
    """A file that closes itself when it has been read."""

    def read(self, *args: Any) -> bytes:
        part = super().read(*args)
        if not part:
            self.close()
        return part

    def __len__(self) -> int:
        return len(XML)


@pytest.mark.parametrize("file", [Pipe, SelfClosing])
def test_a_file_that_cannot_be_rewound_is_not_replayed(
    sandbox: Sandbox, revoked: GopacsSession, file: type[io.BytesIO]
) -> None:
    """A pipe, or a file that was closed meanwhile, is not sent again: the caller gets the 401."""
    assert revoked.post(f"{sandbox.api_url}/message", data=file(XML)).status_code == 401
    assert [exchange.body for exchange in sandbox.api_requests] == [XML]


def test_16_threads_with_a_dead_token_cost_one_renewal(sandbox: Sandbox, revoked: GopacsSession) -> None:
    """16 threads that are refused with the same token share one renewal, and all succeed."""
    answers = at_once(16, lambda: revoked.get(f"{sandbox.api_url}/participants"))
    assert [answer.status_code for answer in answers] == [200] * 16
    assert len(sandbox.token_requests) == 2


def test_an_api_that_always_refuses_costs_one_renewal_and_two_calls(
    clock: Clock, sandbox: Sandbox, revoked: GopacsSession
) -> None:
    """The second 401 goes to the caller."""
    sandbox.answer_next_api_requests(2, 401, headers={"WWW-Authenticate": 'Bearer error="invalid_token"'})
    answer = revoked.get(f"{sandbox.api_url}/participants")
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == 'Bearer error="invalid_token"'
    clock.advance(60)
    assert dispatch_hook("response", answer.request.hooks, answer) is answer  # Once more, as requests-cache does.
    assert (len(sandbox.api_requests), len(sandbox.token_requests)) == (2, 2)


def test_an_api_that_refuses_for_ever_costs_a_renewal_each_5_seconds(
    clock: Clock, sandbox: Sandbox, revoked: GopacsSession
) -> None:
    """8 threads that an API refuses for ever cost no token request while the last is younger than 5 s."""
    sandbox.answer_next_api_requests(math.inf, 401)
    for _ in range(12):
        answers = at_once(8, lambda: revoked.get(f"{sandbox.api_url}/participants"))
        assert [answer.status_code for answer in answers] == [401] * 8
        clock.advance(1)
    assert len(sandbox.token_requests) == 1 + 3
    assert len(sandbox.api_requests) <= 12 * 8 + 3 * 8


def test_an_api_whose_clock_is_behind(clock: Clock) -> None:
    """An API that refuses each token in its first half second costs half a second of 401s, and one renewal."""
    with LateSandbox(clock, 0.5) as sandbox, sandbox.session() as session:
        statuses = []
        for _ in range(60):
            statuses.append(session.get(f"{sandbox.api_url}/participants").status_code)
            clock.advance(0.1)
        assert statuses == [401] * 5 + [200] * 55
        assert len(sandbox.token_requests) == 2


def test_revocations_are_mended_time_after_time(sandbox: Sandbox, revoked: GopacsSession) -> None:
    """However soon after the last one a revocation comes, a renewal that mends it is made at once."""
    for _ in range(5):
        sandbox.revoke_tokens()
        assert revoked.get(f"{sandbox.api_url}/participants").status_code == 200
        assert revoked.get(f"{sandbox.api_url}/participants").status_code == 200


def test_a_token_that_nobody_accepted_is_no_reason_not_to_send_the_next(
    sandbox: Sandbox, revoked: GopacsSession
) -> None:
    """A request that bears a token which was renewed in vain is sent again once there is another, at no other cost."""
    sandbox.answer_next_api_requests(2, 401)
    assert revoked.get(f"{sandbox.api_url}/participants").status_code == 401
    prepared = revoked.prepare_request(requests.Request("GET", f"{sandbox.api_url}/participants"))
    sandbox.revoke_tokens()
    revoked.fetch_token()
    assert revoked.send(prepared).status_code == 200
    assert len(sandbox.token_requests) == 3


CHALLENGES = {
    (401, ""): True,
    (401, "Bearer"): True,
    (401, 'Bearer error="invalid_token"'): True,
    (401, 'Bearer error="invalid_token", error_description="no error=insufficient_scope"'): True,
    (401, 'Bearer realm="a \\" error=insufficient_scope"'): True,
    (401, 'Bearer realm="without end, error=insufficient_scope'): True,
    (401, 'Bearer realm="gopacs", error="insufficient_scope", scope="x"'): False,
    (401, "Bearer Error=INSUFFICIENT_SCOPE"): False,
    (403, 'Bearer error="invalid_token"'): True,
    (403, "Basic realm=x, Bearer realm=y,error = invalid_token"): True,
    (403, 'Bearer error="insufficient_scope", error_description="error=invalid_token"'): False,
    (403, 'Bearer error_uri="https://localhost/?error=invalid_token"'): False,
    (403, ""): False,
}


@pytest.mark.parametrize(("status", "challenge"), CHALLENGES)
def test_the_challenge_tells_what_is_refused(
    sandbox: Sandbox, revoked: GopacsSession, status: int, challenge: str
) -> None:
    """A 401 is mended unless the token's scope is too narrow, and a 403 if it says that the token is invalid."""
    sandbox.answer_next_api_requests(1, status, headers={"WWW-Authenticate": challenge})
    sandbox.answer_next_api_requests(1, 200)
    mended = CHALLENGES[status, challenge]
    assert revoked.get(f"{sandbox.api_url}/participants").status_code == (200 if mended else status)
    assert len(sandbox.token_requests) == (2 if mended else 1)


def test_users_hooks_see_only_the_final_answer(sandbox: Sandbox, revoked: GopacsSession) -> None:
    """raise_for_status as a hook, on the session or on the call, never meets the 401 that was mended."""
    seen: list[int] = []

    def hook(response: requests.Response, **_: Any) -> None:
        seen.append(response.status_code)
        response.raise_for_status()

    revoked.hooks["response"].append(hook)
    assert revoked.get(f"{sandbox.api_url}/participants").status_code == 200
    sandbox.revoke_tokens()
    revoked.hooks["response"].clear()
    assert revoked.get(f"{sandbox.api_url}/participants", hooks={"response": [hook]}).status_code == 200
    assert seen == [200, 200]


def test_the_replay_goes_through_the_same_adapter(sandbox: Sandbox, revoked: GopacsSession) -> None:
    """A mounted adapter sends both the refused request and the replay, with the same options of the call."""
    inner = revoked.get_adapter(f"{sandbox.api_url}/")

    class Recording(BaseAdapter):
        sent: list[tuple[str, dict[str, Any]]] = []

        def send(self, request: requests.PreparedRequest, **options: Any) -> requests.Response:
            self.sent.append((str(request.url), options))
            return inner.send(request, **{**options, "cert": None, "proxies": {}})

        def close(self) -> None:
            inner.close()

    revoked.mount(f"{sandbox.api_url}/mounted", Recording())
    url, proxies = f"{sandbox.api_url}/mounted/participants", {"https": "http://127.0.0.1:1", "no_proxy": "localhost"}
    options = {"timeout": (3, 7), "verify": sandbox.ca_file, "cert": "client.pem", "proxies": proxies, "stream": True}
    assert revoked.get(url, **options).status_code == 200
    assert Recording.sent == [(url, options)] * 2


@pytest.mark.usefixtures("pauses")
def test_an_outage_after_one_refusal_does_not_spoil_the_token(sandbox: Sandbox) -> None:
    """An API that refuses a good token, while no new one can be obtained, leaves the token to the other APIs."""
    with sandbox.session() as session:
        session.get(f"{sandbox.api_url}/warm")
        sandbox.answer_next_api_requests(1, 401)
        sandbox.answer_next_token_requests(3, 503)
        with pytest.raises(AuthorizationServerError):
            session.get(f"{sandbox.api_url}/moody")
        assert session.get(f"{sandbox.api_url}/healthy").status_code == 200
    assert len(sandbox.token_requests) == 1 + 3


def test_a_newer_token_is_used_without_another_renewal(sandbox: Sandbox) -> None:
    """A request that was refused with an old token uses the one that came meanwhile."""
    with sandbox.session() as session:
        prepared = session.prepare_request(requests.Request("GET", f"{sandbox.api_url}/participants"))
        sandbox.revoke_tokens()
        session.fetch_token()
        assert session.send(prepared).status_code == 200
    assert len(sandbox.token_requests) == 2
    assert [exchange.token_number for exchange in sandbox.api_requests] == [1, 2]


def test_cookies_of_a_refusal_reach_the_replay(sandbox: Sandbox, revoked: GopacsSession) -> None:
    """A cookie that comes with the 401 goes with the replay and the requests after it, as with HTTPDigestAuth."""
    revoked.cookies.set("own", "1")
    sandbox.answer_next_api_requests(1, 401, headers={"Set-Cookie": "node=2; Path=/"})
    revoked.get(f"{sandbox.api_url}/participants", cookies={"once": "3"})
    revoked.get(f"{sandbox.api_url}/participants")
    cookies = [set(exchange.headers["Cookie"].split("; ")) for exchange in sandbox.api_requests]
    assert cookies == [{"own=1", "once=3"}, {"own=1", "node=2", "once=3"}, {"own=1", "node=2"}]


@pytest.mark.parametrize("own", ["own=1", b"own=1", None])
def test_the_callers_cookie_header_stays(sandbox: Sandbox, revoked: GopacsSession, own: Any) -> None:
    """The replay has the Cookie header that the caller wrote, or none where the caller took it away."""
    revoked.cookies.set("jar", "1")
    prepared = revoked.prepare_request(requests.Request("GET", f"{sandbox.api_url}/participants"))
    del prepared.headers["Cookie"]
    if own:
        prepared.headers["Cookie"] = own
    sandbox.answer_next_api_requests(1, 401, headers={"Set-Cookie": "node=2; Path=/"})
    assert revoked.send(prepared).status_code == 200
    assert [exchange.headers.get("Cookie") for exchange in sandbox.api_requests] == ["own=1" if own else None] * 2


@pytest.mark.parametrize("options", [{"auth": ("user", "password")}, {"withhold_token": True}])
def test_a_401_to_a_request_without_our_token_is_the_callers(sandbox: Sandbox, options: dict[str, Any]) -> None:
    """A request with credentials of the caller's, or with none, is sent once and costs no renewal."""
    with sandbox.session() as session:
        assert session.get(f"{sandbox.api_url}/participants", **options).status_code == 401
    assert sandbox.token_requests == []
    assert len(sandbox.api_requests) == 1


def test_a_header_set_after_preparing_is_the_callers(sandbox: Sandbox, revoked: GopacsSession) -> None:
    """A prepared request whose Authorization the caller replaced is neither renewed nor replayed."""
    prepared = revoked.prepare_request(requests.Request("GET", f"{sandbox.api_url}/participants"))
    prepared.headers["Authorization"] = "Bearer of-another-system"
    assert revoked.send(prepared).status_code == 401
    assert len(sandbox.api_requests) == 1


def limit_connections(session: GopacsSession, number: int) -> None:
    """Have a request wait for one of so many connections, for as long as that takes."""
    adapter: Any = session.get_adapter("https://localhost")
    adapter.init_poolmanager(1, number, block=True)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("data", [b"<message/>", None], ids=["bytes", "generator"])
def test_one_connection_serves_refusal_and_renewal(
    sandbox: Sandbox, revoked: GopacsSession, data: Any, stream: bool
) -> None:
    """With a pool of one blocking connection for both servers, a refusal leads to no deadlock."""
    limit_connections(revoked, 1)

    def call() -> list[int]:
        body = data or iter([b"<message/>"])
        with revoked.post(f"{sandbox.api_url}/message", data=body, stream=stream) as answer:
            pass
        return [answer.status_code, revoked.get(f"{sandbox.api_url}/message").status_code]

    assert in_background(call).result(10) == [200 if data else 401, 200]


class Bare(BaseAdapter):
    """Answers 401 with nothing in the response that could be left out."""

    def __init__(self, *, tells_the_request: bool, raw: io.BytesIO | None) -> None:
        self.tells_the_request, self.raw = tells_the_request, raw
        self.sent: list[str | bytes | None] = []

    def send(self, request: requests.PreparedRequest, **options: Any) -> requests.Response:
        self.sent.append(request.headers["Authorization"])
        response = requests.Response()
        response.status_code, response.raw = 401, self.raw
        if self.tells_the_request:
            response.request = request
        return response

    def close(self) -> None:
        pass


CLOSED = io.BytesIO()
CLOSED.close()


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("raw", [None, CLOSED], ids=["no body", "closed"])
def test_an_adapter_that_tells_little(sandbox: Sandbox, raw: io.BytesIO | None, stream: bool) -> None:
    """A refusal that tells neither its request nor its adapter, where these are needed, goes to the caller.

    Where it is known whose token was refused, the next request gets another.
    """
    auth = GopacsAuth(sandbox.client_id, sandbox.client_secret, sandbox.environment)
    auth.token = {"access_token": "stored"}
    with sandbox.session() as session, requests.Session() as plain:
        plain.auth, session.token = auth, auth.token
        for sender, tells, times in [(session, False, 1), (plain, False, 1), (plain, True, 1), (session, True, 2)]:
            bare = Bare(tells_the_request=tells, raw=raw)
            sender.mount(f"{sandbox.api_url}/bare", bare)
            with suppress(ValueError if raw else ()):  # of requests, which reads the answer that it gets
                assert sender.get(f"{sandbox.api_url}/bare", stream=stream).status_code == 401
            assert len(bare.sent) == times
        plain.get(f"{sandbox.api_url}/bare", stream=True)
    assert auth.token["access_token"] != "stored"


@pytest.mark.parametrize("coding, encode, size", [("identity", bytes, 10**6), ("gzip", gzip.compress, 5 * 10**7)])
def test_a_huge_refusal_is_not_read_to_its_end(
    sandbox: Sandbox, revoked: GopacsSession, coding: str, encode: Callable[[bytes], bytes], size: int
) -> None:
    """It does not fill the memory before the replay, as it is or zipped; a bounded part of it is in the history."""
    sandbox.answer_next_api_requests(1, 401, body=encode(bytes(size)), headers={"Content-Encoding": coding})
    answer = revoked.get(f"{sandbox.api_url}/participants")
    assert answer.status_code == 200
    assert 0 < len(answer.history[0].content) < 1_000_000


WHY = b'{"why": "revoked"}'
ZIPPED = gzip.compress(WHY)
DEFLATED = zlib.compress(WHY)[2:-4]  # without zlib's own head and end, as many servers do


def encoded(body: bytes, coding: str) -> Answer:
    return raw(http(body, f"Content-Encoding: {coding}", f"Content-Length: {len(body)}", status="401 No"))


WHOLE = {
    "with a length": raw(http(WHY, status="401 No")),
    "in chunks": chunked([WHY[:1], WHY[1:7], WHY[7:]], status="401 No"),
    "zipped": encoded(ZIPPED, "gzip"),
    "deflated": encoded(DEFLATED, "deflate"),
    "in an unknown coding": encoded(WHY, "nonsense"),
    "zipped in chunks": chunked([ZIPPED[:11], ZIPPED[11:]], "Content-Encoding: gzip", status="401 No"),
    "empty": raw(http(b"", status="401 No")),
}


def contents(answer: requests.Response) -> list[bytes]:
    """The bodies of an answer's history, and its own. An answer that is kept keeps its connection open."""
    for one in answer.history:
        assert b"".join(one.iter_content(10)) == one.content
    return [one.content for one in (*answer.history, answer)]


@contextmanager
def refused(
    authority: Authority, refusal: Answer, keep_alive: bool = False
) -> Iterator[tuple[GopacsSession, RawServer]]:
    """A session whose first request gets this refusal, and then the answer ``final``; and its server."""
    token = raw(http(TOKEN) if keep_alive else http(TOKEN, "Connection: close"))
    with (
        authority.server(token, refusal, token, raw(http(b"final")), keep_alive=keep_alive) as server,
        GopacsSession("client", "the-secret", server.environment) as session,
    ):
        session.verify = authority.ca_file
        yield session, server


@pytest.mark.parametrize("kind", WHOLE)
def test_one_connection_serves_all(authority: Authority, kind: str) -> None:
    """A refusal is read whole, however it comes: its body is in the history, and its connection serves the replay."""
    with refused(authority, WHOLE[kind], keep_alive=True) as (session, server):
        bodies = contents(session.get(server.environment.token_url))
    assert bodies == [b"" if kind == "empty" else WHY, b"final"]
    assert (len(server.requests), len(server.client_certificates)) == (4, 1)


@pytest.mark.parametrize("kind", ["Content-Length: 5000", "Transfer-Encoding: chunked"])
def test_a_refusal_that_drips_is_given_up(authority: Authority, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """A refusal that comes byte by byte does not keep the replay waiting for long."""
    monkeypatch.setattr(bearer, "PATIENCE", 0.05)
    answered, in_time = threading.Event(), []
    part = b"1\r\n \r\n" if "chunked" in kind else b" "

    def refusal(_: bytes) -> Iterator[bytes]:
        yield http(b"", kind, status="401 No")
        for _drop in range(5000):
            if answered.wait(0.002):
                break
            yield part
        in_time.append(answered.is_set())

    with refused(authority, refusal) as (session, server):
        assert contents(session.get(server.environment.token_url)) == [b"", b"final"]
        answered.set()
    assert in_time in ([True], [])  # Nothing where it met the closed connection first.


REST = {
    "late": ("Content-Length: 5", b"later"),
    "malformed": ("Transfer-Encoding: chunked", b"-5\r\nlater"),
}


@pytest.mark.parametrize("kind", REST)
def test_a_streamed_refusal_is_not_read(authority: Authority, kind: str) -> None:
    """With stream=True, a refusal whose body does not come or makes no sense keeps nobody from the final answer."""
    header, body = REST[kind]
    answered, in_time = threading.Event(), []

    def refusal(_: bytes) -> Iterator[bytes]:
        yield http(b"", header, status="401 No")
        in_time.append(answered.wait(10))
        yield body

    with refused(authority, refusal) as (session, server):
        with session.get(server.environment.token_url, stream=True) as answer:
            assert (answer.status_code, answer.content) == (200, b"final")
        answered.set()
    assert in_time == [True]


def test_a_refusal_that_is_too_big_gives_its_connection_back(sandbox: Sandbox, revoked: GopacsSession) -> None:
    """With a pool of one blocking connection, a refusal that is not read to its end leads to no deadlock."""
    limit_connections(revoked, 1)
    sandbox.answer_next_api_requests(1, 401, body=b"x" * 1_000_000)
    assert in_background(lambda: revoked.get(sandbox.api_url)).result(10).status_code == 200


def test_a_malformed_refusal_is_mended(authority: Authority) -> None:
    """A refusal whose body makes no sense keeps nobody from the final answer."""
    refusal = raw(http(b"-5\r\nwhy", "Transfer-Encoding: chunked", status="401 No"))
    with refused(authority, refusal) as (session, server):
        assert session.get(server.environment.token_url).content == b"final"


def test_a_refusal_after_a_redirect_that_dropped_a_file_is_mended(sandbox: Sandbox) -> None:
    """A GET that a redirect made of a file's POST has no body to rewind, and is replayed."""
    with sandbox.session() as session:
        session.get(f"{sandbox.api_url}/warm")
        sandbox.answer_next_api_requests(1, 303, headers={"Location": "/result"})
        sandbox.answer_next_api_requests(1, 401)
        assert session.post(f"{sandbox.api_url}/message", data=io.BytesIO(b"<message/>")).status_code == 200


def test_a_refusal_whose_renewal_fails_gives_its_connection_back(sandbox: Sandbox, revoked: GopacsSession) -> None:
    """With two connections, streamed refusals that end in kept errors do not use them up."""
    limit_connections(revoked, 2)
    sandbox.client_enabled = False

    def call() -> None:
        revoked.post(f"{sandbox.api_url}/message", data=b"<message/>", stream=True)

    kept = [in_background(call).exception(10) for _ in range(3)]
    assert [type(error) for error in kept] == [InvalidClientError] * 3


# -- the log -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Callable[[], list[tuple[str, str]]]:
    """Level and text of what the log tells, but for tokens obtained."""
    caplog.set_level(logging.DEBUG, logger="gopacs_session")

    def lines() -> list[tuple[str, str]]:
        records = [record for record in caplog.records if record.name == "gopacs_session"]
        told = [(record.levelname, record.getMessage()) for record in records]
        return [(level, text) for level, text in told if "Token obtained" not in text]

    return lines


Lines = Callable[[], list[tuple[str, str]]]


def test_the_log_tells_of_a_refusal_that_was_mended(sandbox: Sandbox, revoked: GopacsSession, lines: Lines) -> None:
    """One line at INFO: host, path and status, and nothing that follows the path."""
    revoked.get(f"{sandbox.api_url}/participants", params={"key": "q"})
    assert lines() == [("INFO", "localhost/participants refused a token (401), but not another.")]


class Falling(Offline):
    """Answers once, and then breaks down."""

    answered = False

    def send(self, request: requests.PreparedRequest, *args: Any, **options: Any) -> requests.Response:
        if self.answered:
            raise requests.ConnectionError
        self.answered = True
        return super().send(request)


def never_accepted(sandbox: Sandbox, session: GopacsSession) -> None:
    sandbox.answer_next_api_requests(2, 401)
    session.get(f"{sandbox.api_url}/participants?key=q")


def accepted_too_seldom(sandbox: Sandbox, session: GopacsSession) -> None:
    never_accepted(sandbox, session)
    sandbox.answer_next_api_requests(1, 401)
    session.get(f"{sandbox.api_url}/participants?key=q")


def a_body_that_is_gone(sandbox: Sandbox, session: GopacsSession) -> None:
    session.post(f"{sandbox.api_url}/participants?key=q", data=iter([b"<message/>"]))


def no_other_token(sandbox: Sandbox, session: GopacsSession) -> None:
    sandbox.client_enabled = False
    with pytest.raises(InvalidClientError):
        session.get(f"{sandbox.api_url}/participants?key=q")


def a_broken_connection(sandbox: Sandbox, session: GopacsSession) -> None:
    session.mount(f"{sandbox.api_url}/participants", Falling(401))
    with pytest.raises(requests.ConnectionError):
        session.get(f"{sandbox.api_url}/participants?key=q")


WHYS: dict[str, Callable[[Sandbox, GopacsSession], None]] = {
    "it was sent again with a new token": never_accepted,
    "its token is new, and came of another refusal": accepted_too_seldom,
    "the request can't be sent again": a_body_that_is_gone,
    "No access token for sandbox: the authorization server refused the client": no_other_token,
    "it could not be sent again": a_broken_connection,
}


@pytest.mark.parametrize("why", WHYS)
def test_the_log_tells_of_a_refusal_that_stands(
    sandbox: Sandbox, revoked: GopacsSession, lines: Lines, why: str
) -> None:
    """One line at WARNING: host, path and status, and why it was not mended."""
    WHYS[why](sandbox, revoked)
    level, text = lines()[-1]
    assert level == "WARNING"
    assert text.startswith(f"localhost/participants refused a token (401), and that stands: {why}")
    assert "key" not in text
    assert len(lines()) == (2 if WHYS[why] is accepted_too_seldom else 1)


def test_the_log_tells_of_a_url_that_gets_no_token(sandbox: Sandbox, revoked: GopacsSession, lines: Lines) -> None:
    """One line at DEBUG names the foreign host, and nothing more of the URL."""
    foreign = sandbox.api_url.replace("localhost", "127.0.0.1")
    revoked.mount(foreign, revoked.get_adapter(sandbox.api_url))
    with suppress(requests.ConnectionError):
        revoked.get(f"{foreign}/participants?key=q".replace("//", "//user:password@"))
    assert lines() == [("DEBUG", "127.0.0.1 does not belong to sandbox: it gets no token.")]


def test_a_mistyped_host_is_told(caplog: pytest.LogCaptureFixture) -> None:
    """A warning tells of a host that looks like one of the environment and is not: its request is going to fail."""
    session = GopacsSession("trader", "s3cret", "acceptance")
    session.prepare_request(requests.Request("GET", "https://api.acc.gopacs-services.nl/messages"))
    assert [(record.levelname, record.message) for record in caplog.records] == [
        (
            "WARNING",
            "api.acc.gopacs-services.nl does not belong to acceptance: is it mistyped? It gets no token.",
        )
    ]
