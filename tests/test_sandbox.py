from __future__ import annotations

import base64
import http.client
import math
import os
import pickle
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from contract import INVALID_TOKEN, AuthorizationServer, ProtectedResourceContract, TokenEndpointContract
from requests.adapters import HTTPAdapter
from support import at_once, unassigned_port
from urllib3 import Retry

import gopacs_session.sandbox.body
import gopacs_session.sandbox.realm
from gopacs_session import ConfigurationError
from gopacs_session.sandbox import Exchange, Sandbox

RESET_ON_CLOSE = struct.pack("ii", 1, 0)
CHECKOUT = Path(__file__).parent.parent
TOKEN_PATH = "/realms/gopacs/protocol/openid-connect/token"

CLIENTS: dict[str, dict[str, Any]] = {
    # What makes the sandbox's one client such a client of the contract.
    "ordinary": {},
    "disabled": {"client_enabled": False},
    "no-service-account": {"service_account_enabled": False},
    "short-lived": {"token_lifetime": 3},
    "refresh-tokens": {"refresh_tokens": True},
    "odd-secret": {"client_secret": "+/%&= ü€"},
}


@pytest.fixture
def authorization_server(sandbox: Sandbox) -> Iterator[AuthorizationServer]:
    def credentials(client: str) -> dict[str, str]:
        for name, value in CLIENTS[client].items():
            setattr(sandbox, name, value)
        return {"client_id": sandbox.client_id, "client_secret": sandbox.client_secret}

    with requests.Session() as plain:
        sandbox.trust(plain)
        plain.trust_env = False
        yield AuthorizationServer(
            sandbox.environment.token_url, f"{sandbox.api_url}/messages", plain, credentials, sandbox.revoke_tokens
        )


@pytest.fixture
def plain(authorization_server: AuthorizationServer) -> requests.Session:
    """A session of requests, without any of our own judgement."""
    return authorization_server.http


@pytest.fixture
def ask(authorization_server: AuthorizationServer) -> Callable[..., requests.Response]:
    """Send a good token request, but for the fields and options given."""
    return authorization_server.ask


@pytest.fixture
def call(sandbox: Sandbox, plain: requests.Session, ask: Any) -> Any:
    """Send an API request with a token, by default a fresh one."""

    def call(
        path: str = "/messages", method: str = "GET", token: str | None = None, **options: Any
    ) -> requests.Response:
        headers = {"Authorization": f"Bearer {token or ask().json()['access_token']}", **options.pop("headers", {})}
        return plain.request(method, sandbox.api_url + path, headers=headers, **options)

    return call


def tls(sandbox: Sandbox) -> ssl.SSLSocket:
    context = ssl.create_default_context(cafile=sandbox.ca_file)
    connection = socket.create_connection(("127.0.0.1", port_of(sandbox)), timeout=10)
    return context.wrap_socket(connection, server_hostname="localhost")


def port_of(sandbox: Sandbox) -> int:
    return int(sandbox.api_url.rpartition(":")[2])


class TestTokenEndpoint(TokenEndpointContract):
    """The sandbox answers as Keycloak does, which is held to the same contract in tests/keycloak; and:"""

    def test_lifetime_of_a_fraction(self, sandbox: Sandbox, ask: Any) -> None:
        """A lifetime that is no whole number of seconds is told as it is."""
        sandbox.token_lifetime = 0.5
        assert ask().json()["expires_in"] == 0.5

    def test_garbled_credentials_in_the_header(self, ask: Any) -> None:
        """What is no base64 gives no credentials, and so does another scheme."""
        for authorization in ("Basic \u00e9", "Basic a", "Digest c2FuZGJveDp4"):
            headers = {"Authorization": authorization.encode("latin-1")}
            assert ask(headers=headers, client_id=None).json()["error"] == "invalid_client"


class TestApi(ProtectedResourceContract):
    def test_tells_what_it_received(self, call: Any) -> None:
        """A request with a good token is answered with what came in, and the number of the token in its place."""
        call()
        response = call("/a%20b?x=1&x=2", "PUT", data="grüß", headers={"X-Trace": "7"})
        echo = response.json()
        assert (response.status_code, response.headers["Content-Type"]) == (200, "application/json")
        assert (echo["method"], echo["path"], echo["query"]) == ("PUT", "/a%20b", "x=1&x=2")
        assert (echo["headers"]["X-Trace"], echo["headers"]["Authorization"]) == ("7", "Bearer <token 2>")
        assert echo["body"] == "grüß"
        assert base64.b64decode(call(method="POST", data=b"\xff\x00").json()["body_base64"]) == b"\xff\x00"

    def test_schemes(self, sandbox: Sandbox, plain: requests.Session, ask: Any) -> None:
        """Bearer counts in any case (RFC 9110 section 11.1); another scheme, or no token behind it, is no token."""
        token = ask().json()["access_token"]
        for authorization, status in (f"bEARER {token}", 200), (f"Basic {token}", 401), ("Bearer", 401):
            response = plain.get(sandbox.api_url, headers={"Authorization": authorization})
            assert response.status_code == status
            assert response.headers.get("WWW-Authenticate") == (None if status == 200 else 'Bearer realm="gopacs"')

    def test_with_an_expired_token(
        self, sandbox: Sandbox, ask: Any, call: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A token is good for the lifetime that was set when it was issued, and not for longer."""
        now = 1000.0
        monkeypatch.setattr(gopacs_session.sandbox.realm, "monotonic", lambda: now)
        token = ask().json()["access_token"]
        sandbox.token_lifetime = 1
        now += 299.9
        assert call(token=token).status_code == 200
        now += 0.2
        response = call(token=token)
        assert (response.status_code, response.headers["WWW-Authenticate"]) == (401, INVALID_TOKEN)

    def test_forbidden(self, call: Any) -> None:
        """A path that begins with /forbidden is refused although the token is good."""
        response = call("/forbidden/place")
        assert response.status_code == 403
        assert 'error="insufficient_scope"' in response.headers["WWW-Authenticate"]
        assert call("/forbidden", token="bad").status_code == 401

    def test_status_on_demand(self, call: Any) -> None:
        """/status/ and a status of 4xx or 5xx is answered with that status, if the token is good."""
        assert [call(f"/status/{status}").status_code for status in (404, 503, 599)] == [404, 503, 599]
        assert "503 Service Unavailable" in call("/status/503").text
        assert [call(f"/status/{status}").status_code for status in ("200", "103", "600", "4040", "x")] == [200] * 5
        assert call("/status/404", token="bad").status_code == 401


CHUNKED = "POST /x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"


class TestHttp:
    def test_chunked_body(self, call: Any) -> None:
        """A chunked request body is read to its end, and so is the request after it."""
        assert call(method="POST", data=iter([b"one,", b"two"])).json()["body"] == "one,two"
        assert call(method="POST", data=iter([])).json()["body"] == ""

    def test_chunk_extensions_and_trailers(self, sandbox: Sandbox) -> None:
        """Chunk extensions and trailers are skipped (RFC 9112 section 7.1)."""
        with tls(sandbox) as connection:
            connection.sendall(b"POST /x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
            connection.sendall(b"A;name=value\r\n0123456789\r\n0\r\nX-Sum: 1\r\n\r\n")
            assert connection.recv(100).startswith(b"HTTP/1.1 401")
        assert sandbox.api_requests[0].body == b"0123456789"

    def test_head(self, sandbox: Sandbox, call: Any) -> None:
        """HEAD is answered with the headers of GET, no body, and on a connection that can be used again."""
        response = call(method="HEAD")
        assert (response.status_code, response.content) == (200, b"")
        assert int(response.headers["Content-Length"]) > 0
        assert call().status_code == 200

    def test_keep_alive(self, sandbox: Sandbox) -> None:
        """A connection serves many requests, each answered in one piece."""
        with tls(sandbox) as connection:
            for _ in range(3):
                connection.sendall(b"GET /x HTTP/1.1\r\nHost: x\r\n\r\n")
                answer = connection.recv(65536)
                assert answer.startswith(b"HTTP/1.1 401 Unauthorized\r\n")
                assert answer.endswith(b"\r\n\r\n")

    def test_expect_continue(self, sandbox: Sandbox) -> None:
        """A client that waits for 100 Continue gets it before its body has been sent."""
        with tls(sandbox) as connection:
            connection.sendall(b"POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
            assert connection.recv(100).startswith(b"HTTP/1.1 100 ")
            connection.sendall(b"ok")
            assert connection.recv(100).startswith(b"HTTP/1.1 401 ")
        assert sandbox.api_requests[0].body == b"ok"

    @pytest.mark.parametrize(
        ("head", "status"),
        [
            *[(f"POST /x HTTP/1.1\r\nContent-Length: {length}", 400) for length in ("many", "-1", "+1", "1_0", "5, 5")],
            (f"POST /x HTTP/1.1\r\nContent-Length: {10**12}", 413),
            *[(f"{CHUNKED}{size}", 400) for size in ("no number", "-1", "0x1", "", "1\r\nab", "f" * 70000)],
            (f"{CHUNKED}e8d4a51000", 413),
            (f"{CHUNKED}1\r\na\r\n4000000\r\n", 413),
            (f"{CHUNKED}0\r\n" + "X: 1\r\n" * 101, 400),
            ("GET /x HTTP/1.1\r\n" + "X: 1\r\n" * 101, 431),
            (f"GET /x HTTP/1.1\r\nX: {'1' * 70000}", 431),
            (f"GET /{'x' * 70000} HTTP/1.1", 414),
            ("BREW /x HTTP/1.1", 501),
        ],
        ids=lambda value: str(value)[:60],
    )
    def test_what_cannot_be_read(self, sandbox: Sandbox, head: str, status: int) -> None:
        """A malformed or boundless request is a 4xx at once, the end of its connection, and not on record."""
        with tls(sandbox) as connection:
            connection.sendall(f"{head}\r\n\r\n".encode())
            with connection.makefile("rb") as answer:
                assert answer.readline().startswith(f"HTTP/1.1 {status} ".encode())
                assert b"Connection: close\r\n" in answer.readlines()
        assert sandbox.api_requests == []

    @pytest.mark.parametrize("chunked", [False, True])
    def test_largest_body(
        self, sandbox: Sandbox, plain: requests.Session, monkeypatch: pytest.MonkeyPatch, chunked: bool
    ) -> None:
        """A body of the largest size is read, one byte more is a 413, and the next request is answered."""
        monkeypatch.setattr(gopacs_session.sandbox.body, "LARGEST_BODY", 4)
        bodies = b"abcd", b"abcde", b"ab"
        answers = [plain.post(sandbox.api_url, data=iter([b[:2], b[2:]]) if chunked else b) for b in bodies]
        assert [answer.status_code for answer in answers] == [401, 413, 401]
        assert [exchange.body for exchange in sandbox.api_requests] == [b"abcd", b"ab"]

    @pytest.mark.parametrize(
        "fragment",
        [
            b"",
            b"POST /x HT",
            b"POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc",
            b"POST /x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nabc",
            b"POST /x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n",
        ],
    )
    def test_client_that_goes_away(self, capfd: pytest.CaptureFixture[str], fragment: bytes) -> None:
        """A client that goes away in mid-request leaves neither a record, nor an error, nor a traceback."""
        with Sandbox() as sandbox:
            with tls(sandbox) as connection:
                connection.sendall(fragment)
            with sandbox.session() as session:
                assert session.get(sandbox.api_url).status_code == 200
        assert len(sandbox.api_requests) == 1
        assert capfd.readouterr() == ("", "")

    def test_client_that_does_not_wait_for_the_answer(self, capfd: pytest.CaptureFixture[str]) -> None:
        """An answer that nobody waits for any more is no error."""
        with Sandbox() as sandbox, sandbox.hold_token_requests(), tls(sandbox) as connection:
            connection.sendall(b"POST /realms/gopacs HTTP/1.1\r\nHost: x\r\n\r\n")
            sandbox.wait_for_token_requests(1)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        assert capfd.readouterr() == ("", "")

    def test_client_without_trust_or_tls(self, capfd: pytest.CaptureFixture[str]) -> None:
        """A client that speaks no TLS, or does not know the CA, is no error either; it is served nothing."""
        with Sandbox() as sandbox:
            with pytest.raises(requests.exceptions.SSLError, match="CERTIFICATE_VERIFY_FAILED"):
                requests.get(sandbox.api_url, timeout=10)
            with pytest.raises(requests.ConnectionError):
                requests.get(f"http://localhost:{port_of(sandbox)}", timeout=10)
        assert sandbox.api_requests == []
        assert capfd.readouterr() == ("", "")

    def test_client_that_is_gone_before_it_is_accepted(self) -> None:
        """A connection that is reset at once leaves no open socket behind."""
        with warnings.catch_warnings(record=True) as caught, Sandbox() as sandbox:
            warnings.simplefilter("always")
            for _ in range(50):
                with socket.create_connection(("127.0.0.1", port_of(sandbox))) as connection:
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
            with sandbox.session() as session:
                assert session.get(sandbox.api_url).status_code == 200
        assert caught == []

    def test_silent_client_keeps_nobody_waiting(self, sandbox: Sandbox, call: Any) -> None:
        """A client that connects and never shakes hands does not keep others from being served."""
        with socket.create_connection(("127.0.0.1", port_of(sandbox))):
            assert call().status_code == 200

    def test_loopback_only(self, sandbox: Sandbox) -> None:
        """The sandbox listens on 127.0.0.1 and on no other address."""
        with pytest.raises(OSError, match=r"refused|assign|timed out"):
            socket.create_connection(("127.0.0.2", port_of(sandbox)), timeout=1)


class TestRecord:
    def test_holds_what_was_sent(self, sandbox: Sandbox, call: Any) -> None:
        """An exchange on record tells all that was sent, when, and how it was answered."""
        before = time.monotonic()
        call("/messages?x=1", "POST", data="hello", headers={"X-Many": "1, 2"})
        (obtained,), (borne,) = sandbox.token_requests, sandbox.api_requests
        assert (obtained.method, obtained.status, obtained.token_number) == ("POST", 200, 1)
        assert obtained.path == TOKEN_PATH
        assert obtained.authorization is None
        assert f"client_secret={sandbox.client_secret}".encode() in obtained.body
        assert (borne.method, borne.path, borne.query, borne.body) == ("POST", "/messages", "x=1", b"hello")
        assert (borne.status, borne.token_number) == (200, 1)
        assert borne.headers["x-many"] == "1, 2"
        assert borne.authorization == borne.headers["authorization"]
        assert before < obtained.started < borne.started < time.monotonic()

    def test_repeated_headers(self, sandbox: Sandbox) -> None:
        """The values of a header that was sent twice are joined, so that none can hide."""
        with tls(sandbox) as connection:
            connection.sendall(b"GET /x HTTP/1.1\r\nAuthorization: Bearer a\r\nauthorization: Basic b\r\n\r\n")
            connection.recv(100)
        assert sandbox.api_requests[0].authorization == "Bearer a, Basic b"

    def test_refusals_are_on_record(self, sandbox: Sandbox, ask: Any, call: Any) -> None:
        """A refused request is on record too; a revoked token is still known by its number."""
        token = ask().json()["access_token"]
        sandbox.revoke_tokens()
        ask(client_secret="wrong")
        call(token=token)
        call(token="unknown")
        assert [(e.status, e.token_number) for e in sandbox.token_requests] == [(200, 1), (401, None)]
        assert [(e.status, e.token_number) for e in sandbox.api_requests] == [(401, 1), (401, None)]

    def test_repr_holds_no_secrets(self, sandbox: Sandbox, plain: requests.Session, ask: Any, call: Any) -> None:
        """Neither the secret nor a token shows in the repr of an exchange or of its headers."""
        token = ask().json()["access_token"]
        call(token=token, params={"access_token": token})
        plain.get(sandbox.environment.token_url, params={"client_secret": sandbox.client_secret})
        plain.get(sandbox.api_url, auth=("sandbox", sandbox.client_secret))
        exchanges = [*sandbox.token_requests, *sandbox.api_requests]
        text = repr(exchanges) + str([exchange.headers for exchange in exchanges])
        assert "Exchange(method='POST', path='/realms/" in text
        assert token not in text
        assert sandbox.client_secret not in text
        assert base64.b64encode(f"sandbox:{sandbox.client_secret}".encode()).decode() not in text
        assert sandbox.client_secret not in repr(sandbox)

    def test_on_request(self) -> None:
        """on_request has been called with each exchange by the time that its answer arrives."""
        seen: list[Exchange] = []
        with Sandbox(on_request=seen.append) as sandbox, sandbox.session() as session:
            session.get(sandbox.api_url)
            assert seen == [*sandbox.token_requests, *sandbox.api_requests]

    @pytest.mark.parametrize("error", [AssertionError("seen enough"), BrokenPipeError("no more output")])
    def test_errors_come_out(self, capfd: pytest.CaptureFixture[str], error: Exception) -> None:
        """What goes wrong in a thread of the sandbox is raised where the block ends."""

        def fail(exchange: Exchange) -> None:
            raise error

        def block() -> None:
            with Sandbox(on_request=fail) as sandbox, requests.Session() as session:
                sandbox.trust(session)
                with pytest.raises(requests.ConnectionError):
                    session.get(sandbox.api_url)

        with pytest.raises(type(error), match=str(error)):
            block()
        assert capfd.readouterr() == ("", "")

    def test_errors_beside_the_judgement_come_out(self) -> None:
        """So is what goes wrong while an answer is written."""

        def block() -> None:
            with Sandbox() as sandbox, requests.Session() as session:
                sandbox.trust(session)
                sandbox.answer_next_api_requests(1, 200, headers={"X-Price": "1 €"})
                with pytest.raises(requests.ConnectionError):
                    session.get(sandbox.api_url)

        with pytest.raises(UnicodeEncodeError, match="latin-1"):
            block()


class TestPlannedAnswers:
    def test_token_requests(self, sandbox: Sandbox, ask: Any) -> None:
        """Planned answers are given in the order of planning, are on record, and then all is as before."""
        sandbox.answer_next_token_requests(2, 503, headers={"Retry-After": "1"})
        sandbox.answer_next_token_requests(1, 429)
        sandbox.answer_next_token_requests(1, 418)
        responses = [ask() for _ in range(5)]
        assert [response.status_code for response in responses] == [503, 503, 429, 418, 200]
        assert [exchange.status for exchange in sandbox.token_requests] == [503, 503, 429, 418, 200]
        assert [exchange.token_number for exchange in sandbox.token_requests] == [None] * 4 + [1]
        assert responses[0].headers["Retry-After"] == "1"
        assert "503 Service Unavailable" in responses[0].text
        assert responses[2].headers["Content-Type"] == "text/html;charset=utf-8"
        assert responses[3].content == b""

    @pytest.mark.parametrize(
        ("body", "content", "content_type"),
        [
            (b"\xff", b"\xff", None),
            ("é", "é".encode(), "text/html;charset=utf-8"),
            ({"error": "x"}, b'{"error":"x"}', "application/json"),
            (None, b"", None),
        ],
    )
    def test_bodies(self, sandbox: Sandbox, ask: Any, body: Any, content: bytes, content_type: str | None) -> None:
        """A planned body may be raw, a text or a mapping; what is planned for headers wins."""
        sandbox.answer_next_token_requests(1, 200, body=body)
        sandbox.answer_next_token_requests(1, 200, body=body, headers={"Content-Type": "x/y"})
        response = ask()
        assert (response.content, response.headers.get("Content-Type")) == (content, content_type)
        assert ask().headers["Content-Type"] == "x/y"

    def test_planned_tokens_are_good(self, sandbox: Sandbox, ask: Any, call: Any) -> None:
        """The API accepts a token that a planned answer handed out."""
        sandbox.answer_next_token_requests(1, 200, body={"access_token": "planned"})
        sandbox.answer_next_token_requests(1, 200, body={"access_token": []})
        assert call(token="planned").status_code == 401
        assert ask().json() == {"access_token": "planned"}
        assert call(token="planned").status_code == 200
        assert ask().json() == {"access_token": []}
        assert [exchange.token_number for exchange in sandbox.token_requests] == [1, None]

    def test_api_requests(self, sandbox: Sandbox, call: Any) -> None:
        """API requests have their own plan, which says nothing about token requests."""
        sandbox.answer_next_api_requests(1, 307, headers={"Location": "/elsewhere"})
        response = call("/here")
        assert (response.status_code, response.json()["path"]) == (200, "/elsewhere")
        assert [(e.path, e.status, e.token_number) for e in sandbox.api_requests] == [
            ("/here", 307, 1),
            ("/elsewhere", 200, 1),
        ]

    def test_for_ever_and_no_more(self, sandbox: Sandbox, call: Any) -> None:
        """An infinite plan holds until it is dropped."""
        sandbox.answer_next_api_requests(math.inf, 401)
        assert {call().status_code for _ in range(5)} == {401}
        sandbox.answer_next_api_requests(0, 401)
        assert call().status_code == 200


class TestTiming:
    def test_hold(self, sandbox: Sandbox, ask: Any) -> None:
        """Token requests that arrive in the block are on record at once, and answered when it ends."""
        answers: list[requests.Response] = []
        threads = [threading.Thread(target=lambda: answers.append(ask())) for _ in range(2)]
        with sandbox.hold_token_requests():
            for thread in threads:
                thread.start()
            sandbox.wait_for_token_requests(2)
            assert [exchange.token_number for exchange in sandbox.token_requests] == [1, 2]
            assert answers == []
        for thread in threads:
            thread.join()
        assert [answer.status_code for answer in answers] == [200, 200]
        assert ask().status_code == 200

    def test_hold_keeps_the_api_free(self, sandbox: Sandbox, ask: Any, call: Any) -> None:
        """API requests are answered while token requests are held."""
        token = ask().json()["access_token"]
        with sandbox.hold_token_requests():
            assert call(token=token).status_code == 200

    def test_wait_for_too_many(self, sandbox: Sandbox, ask: Any) -> None:
        """Waiting for token requests that do not come ends with an error that counts them."""
        ask()
        with pytest.raises(TimeoutError, match=r"1 of 2 token requests arrived within 0\.01 s"):
            sandbox.wait_for_token_requests(2, timeout=0.01)

    def test_delay(self) -> None:
        """A token request waits as long as token_delay says, also when a sandbox is entered once more."""
        sandbox = Sandbox()
        sandbox.token_delay = 0.1
        for _ in range(2):
            with sandbox, sandbox.session() as session:
                started = time.perf_counter()
                session.fetch_token()
                assert time.perf_counter() - started >= 0.1

    @pytest.mark.parametrize("waiting", ["delay", "hold", "idle"])
    def test_closing_is_quick_and_leaves_nothing(self, waiting: str) -> None:
        """The block ends at once, whatever clients wait for, and no thread, socket or file is left."""
        before = set(threading.enumerate())
        with Sandbox() as sandbox:
            sandbox.token_delay = 60 if waiting == "delay" else 0
            connections = [tls(sandbox) for _ in range(5)]
            hold = sandbox.hold_token_requests()
            if waiting == "hold":
                hold.__enter__()
            for connection in connections:
                connection.sendall(b"POST /realms/gopacs HTTP/1.1\r\nHost: x\r\n\r\n")
            sandbox.wait_for_token_requests(5)
            started = time.perf_counter()
        assert time.perf_counter() - started < 30
        assert set(threading.enumerate()) <= before
        assert not os.path.exists(sandbox.ca_file)
        with pytest.raises(OSError, match="refused"):
            socket.create_connection(("127.0.0.1", port_of(sandbox)))
        for connection in connections:
            connection.close()

    def test_forgotten_sandbox(self, tmp_path: Path) -> None:
        """A sandbox that nobody leaves does not keep the interpreter from exiting."""
        code = "from gopacs_session.sandbox import Sandbox; Sandbox().__enter__()"
        environ = {**os.environ, "TMPDIR": str(tmp_path)}
        subprocess.run([sys.executable, "-c", code], check=True, timeout=10, cwd=CHECKOUT, env=environ)


class TestLife:
    def test_thirty_two_threads(self, sandbox: Sandbox, ask: Any) -> None:
        """Many threads at once get a token each, and each token has its own number."""
        tokens = {answer.json()["access_token"] for answer in at_once(32, ask)}
        assert len(tokens) == 32
        assert sorted(exchange.token_number or 0 for exchange in sandbox.token_requests) == list(range(1, 33))

    def test_two_sandboxes(self) -> None:
        """Two sandboxes at a time have their own secrets, tokens, records and certificates."""
        with Sandbox() as one, Sandbox() as other, one.session() as session:
            assert one.client_secret != other.client_secret
            assert session.get(one.api_url).status_code == 200
            assert (other.token_requests, other.api_requests) == ([], [])
            with pytest.raises(requests.exceptions.SSLError):
                session.get(other.api_url)
            other.trust(session)
            assert session.get(other.api_url).status_code == 401

    def test_chosen_port_and_credentials(self) -> None:
        """Port, client and token lifetime can be chosen."""
        port = unassigned_port()
        with Sandbox(port=port, client_id="trader", client_secret="s", token_lifetime=7) as sandbox:
            assert sandbox.environment.token_url.startswith(f"https://localhost:{port}/realms/gopacs/")
            with sandbox.session() as session:
                assert session.fetch_token()["expires_in"] == 7
        assert b"client_id=trader&client_secret=s" in sandbox.token_requests[0].body

    def test_port_in_use(self, sandbox: Sandbox) -> None:
        """A port that is taken is an OSError that names it, and leaves the file of the sandbox there alone."""
        port = port_of(sandbox)
        with pytest.raises(OSError, match=rf"cannot listen on 127\.0\.0\.1:{port}: .* in use"):
            Sandbox(port=port, ca_file=sandbox.ca_file).__enter__()
        with sandbox.session() as session:
            assert session.get(sandbox.api_url).status_code == 200

    @pytest.mark.parametrize("use", [lambda s: s.session(), lambda s: s.api_url, lambda s: s.trust(requests.Session())])
    def test_not_entered(self, use: Callable[[Sandbox], object]) -> None:
        """A sandbox that has not been entered says how to use it."""
        with pytest.raises(RuntimeError, match="`with Sandbox\\(\\) as sandbox:`"):
            use(Sandbox())

    def test_chosen_ca_file(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """The CA's certificate can have a place of its own: a new one each time, without its key."""
        monkeypatch.chdir(tmp_path)
        seen = set()
        for _ in range(2):
            with Sandbox(ca_file="ca.pem") as sandbox:
                assert sandbox.ca_file == str(tmp_path / "ca.pem")
                assert [path.name for path in tmp_path.iterdir()] == ["ca.pem"]
                seen.add((tmp_path / "ca.pem").read_text())
                with sandbox.session() as session:
                    assert session.get(sandbox.api_url).status_code == 200
        assert len(seen) == 2
        assert "PRIVATE" not in "".join(seen)

    def test_without_trustme(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Where the extra is not installed, entering a sandbox says what to install."""
        monkeypatch.setitem(sys.modules, "trustme", None)
        with pytest.raises(ConfigurationError, match=r"pip install 'gopacs_session\[sandbox\]'"):
            Sandbox().__enter__()

    def test_import_without_trustme(self) -> None:
        """Where the extra is not installed, the module can still be imported."""
        code = "import sys; sys.modules['trustme'] = None; import gopacs_session.sandbox"
        subprocess.run([sys.executable, "-c", code], check=True, timeout=10, cwd=CHECKOUT)


class TestSession:
    def test_options(self, sandbox: Sandbox) -> None:
        """A session has the sandbox's credentials and environment, unless the options say otherwise."""
        with sandbox.session() as session, sandbox.session(client_secret="wrong", timeout=7) as other:
            assert session.get(sandbox.api_url).status_code == 200
            assert other.timeout == 7
            with pytest.raises(requests.RequestException, match="unauthorized_client"):
                other.get(sandbox.api_url)

    @pytest.fixture
    def hostile(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        """Settings of a user that would divert a session, or break its TLS."""
        for name in "HTTPS_PROXY", "ALL_PROXY", "https_proxy":
            monkeypatch.setenv(name, "http://127.0.0.1:9")
        for name in "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE":
            monkeypatch.setenv(name, str(tmp_path / "missing.pem"))
        netrc = tmp_path / "netrc"
        netrc.write_text("machine localhost login somebody password secret\n")
        netrc.chmod(0o600)
        monkeypatch.setenv("NETRC", str(netrc))

    @pytest.mark.usefixtures("hostile")
    def test_settings_of_the_user_do_not_matter(self, sandbox: Sandbox) -> None:
        """Proxies, CA bundles and netrc entries of the machine neither divert a session nor break it."""
        with sandbox.session() as session:
            assert session.get(sandbox.api_url).status_code == 200
            assert session.get(sandbox.api_url, withhold_token=True).status_code == 401
        assert [exchange.authorization is None for exchange in sandbox.api_requests] == [False, True]

    def test_what_is_set_on_the_session_matters(self, sandbox: Sandbox, tmp_path: Path) -> None:
        """Proxies and verify of the session itself count, as with any session."""
        with sandbox.session() as session:
            session.fetch_token()
            session.proxies = {"https": "http://127.0.0.1:9"}
            with pytest.raises(requests.exceptions.ProxyError):
                session.get(sandbox.api_url)
            session.proxies = {}
            session.verify = str(tmp_path / "missing.pem")
            with pytest.raises(OSError, match=r"missing\.pem"):
                session.get(sandbox.api_url)

    def test_an_adapter_that_retries(self, sandbox: Sandbox) -> None:
        """Planned answers meet the adapters that a program mounts: two of 503, and the third try succeeds."""
        sandbox.answer_next_api_requests(2, 503)
        with sandbox.session() as session:
            retry = Retry(2, backoff_factor=0, status_forcelist=[503])
            session.mount("https://", HTTPAdapter(max_retries=retry))
            assert session.get(sandbox.api_url).status_code == 200
        assert [exchange.status for exchange in sandbox.api_requests] == [503, 503, 200]

    @pytest.mark.usefixtures("hostile")
    def test_trust_any_session(self, sandbox: Sandbox, ask: Any) -> None:
        """A plain session of requests that is told to trust the sandbox reaches it as well."""
        assert ask().status_code == 200

    def test_trust_is_for_this_sandbox_only(self, sandbox: Sandbox) -> None:
        """Any other host is reached and trusted as it was before."""
        with requests.Session() as session:
            before = session.get_adapter("https://localhost/")
            sandbox.trust(session)
            assert session.get_adapter(f"{sandbox.api_url}0/") is before
            assert session.get_adapter(f"{sandbox.api_url}/x") is not before

    def test_pickled_session(self, sandbox: Sandbox) -> None:
        """A session that went to another process still trusts the sandbox."""
        with sandbox.session() as session, pickle.loads(pickle.dumps(session)) as copied:
            assert copied.get(sandbox.api_url).status_code == 200
        with requests.Session() as plain:
            sandbox.trust(plain)
            assert pickle.loads(pickle.dumps(plain)).get(sandbox.api_url).status_code == 401

    def test_http_client(self, sandbox: Sandbox) -> None:
        """The CA file serves clients of any kind, under localhost and 127.0.0.1."""
        context = ssl.create_default_context(cafile=sandbox.ca_file)
        for host in "localhost", "127.0.0.1":
            connection = http.client.HTTPSConnection(host, port_of(sandbox), context=context, timeout=10)
            connection.request("GET", "/")
            assert connection.getresponse().status == 401
            connection.close()
