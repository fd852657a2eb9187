from __future__ import annotations

import math
import os
import pickle
import re
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from contract import AuthorizationServer, ProtectedResourceContract, TokenEndpointContract
from support import at_once, in_background, unassigned_port

from gopacs_session.sandbox import Sandbox

TOKEN_PATH = "/realms/gopacs/protocol/openid-connect/token"

CLIENTS: dict[str, dict[str, Any]] = {  # What makes the one client of the sandbox such a client of the contract.
    "ordinary": {},
    "disabled": {"client_enabled": False},
    "no-service-account": {"service_account_enabled": False},
    "short-lived": {"token_lifetime": 3},
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
        yield AuthorizationServer(
            sandbox.environment.token_url, f"{sandbox.api_url}/messages", plain, credentials, sandbox.revoke_tokens
        )


def tls(sandbox: Sandbox) -> ssl.SSLSocket:
    context = ssl.create_default_context(cafile=sandbox.ca_file)
    address = "127.0.0.1", int(sandbox.api_url.rpartition(":")[2])
    return context.wrap_socket(socket.create_connection(address, timeout=10), server_hostname="localhost")


class TestTokenEndpoint(TokenEndpointContract):
    """The sandbox answers as Keycloak does, which is held to the same contract in tests/keycloak."""


class TestApi(ProtectedResourceContract):
    def test_tells_what_it_received(self, sandbox: Sandbox) -> None:
        """A request with a good token is answered with what came in, and the number of the token in its place."""
        with sandbox.session() as session:
            response = session.put(f"{sandbox.api_url}/a%20b?x=1&x=2", data="grüß".encode(), headers={"X-Trace": "7"})
        echo = response.json()
        assert (echo["method"], echo["path"], echo["query"], echo["body"]) == ("PUT", "/a%20b", "x=1&x=2", "grüß")
        assert (echo["headers"]["X-Trace"], echo["headers"]["Authorization"]) == ("7", "Bearer <token 1>")

    @pytest.mark.parametrize("path, status", [("/forbidden/x", 403), ("/status/404", 404), ("/status/200", 200)])
    def test_status_on_demand(self, sandbox: Sandbox, path: str, status: int) -> None:
        """/status/ and a status of 4xx or 5xx is answered with that status, in JSON, and /forbidden with a 403."""
        with sandbox.session() as session:
            response = session.get(sandbox.api_url + path)
        assert response.status_code == status
        assert status != 404 or response.json() == {"status": 404, "message": "Not Found"}

    def test_lifetime(self, sandbox: Sandbox, authorization_server: AuthorizationServer) -> None:
        """A token is good for the lifetime that was set when it was issued, and not for longer."""
        good = authorization_server.ask().json()["access_token"]
        sandbox.token_lifetime = 0
        expired = authorization_server.ask().json()["access_token"]
        assert [authorization_server.call(token).status_code for token in (good, expired)] == [200, 401]


class TestHttp:
    def test_one_connection(self, sandbox: Sandbox) -> None:
        """A connection serves one request after the other, chunked bodies and HEAD among them."""
        sandbox.answer_next_api_requests(4, 200, body="page")
        with tls(sandbox) as connection:
            for method, end in [("POST", b"\r\n\r\npage"), ("HEAD", b"\r\n\r\n")] * 2:
                head = f"{method} /x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
                connection.sendall(head.encode() + b"4\r\none,\r\n3\r\ntwo\r\n0\r\n\r\n")
                answer = connection.recv(65536)
                assert answer.startswith(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n")
                assert answer.endswith(end)
        assert [exchange.body for exchange in sandbox.api_requests] == [b"one,two"] * 4

    @pytest.mark.parametrize(
        "head, answer",
        [
            ("Content-Length: 2\r\nExpect: 100-continue", b"HTTP/1.1 100 "),
            ("Content-Length: many", b"HTTP/1.1 400 "),
            (f"Content-Length: {(16 << 20) + 1}", b"HTTP/1.1 400 "),
            ("Transfer-Encoding: chunked\r\n\r\n1000001", b"HTTP/1.1 400 "),
        ],
    )
    def test_body_to_come(self, sandbox: Sandbox, head: str, answer: bytes) -> None:
        """A client that asks whether to send its body is told to; one whose body is malformed or too large, not."""
        with tls(sandbox) as connection:
            connection.sendall(f"POST /x HTTP/1.1\r\nHost: x\r\n{head}\r\n\r\n".encode())
            assert connection.recv(100).startswith(answer)
        assert sandbox.api_requests == []

    def test_strangers(self) -> None:
        """Clients that do not know the CA, speak no TLS, say little or are gone at once disturb nobody, nor stderr."""
        code = """if True:
            import socket, ssl, struct, requests
            from gopacs_session.sandbox import Sandbox
            with Sandbox() as sandbox, sandbox.session() as session:
                address = ("127.0.0.1", int(sandbox.api_url.rpartition(":")[2]))
                for url in sandbox.api_url, sandbox.api_url.replace("https", "http"):
                    try:
                        print(requests.get(url, timeout=10))
                    except requests.ConnectionError as error:
                        print(type(error).__name__)
                for _ in range(50):
                    with socket.create_connection(address) as gone:
                        gone.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                context = ssl.create_default_context(cafile=sandbox.ca_file)
                for said in b"", b"POST", b"POST / HTTP/1.1\\r\\nHost: x\\r\\nContent-Length: 9\\r\\n\\r\\nabc":
                    with context.wrap_socket(socket.create_connection(address), server_hostname="localhost") as short:
                        short.sendall(said)
                with socket.create_connection(address):
                    print(session.get(sandbox.api_url).status_code, len(sandbox.api_requests))
        """
        run = subprocess.run([sys.executable, "-W", "always", "-c", code], text=True, stdout=-1, stderr=-1, timeout=60)
        assert (run.stdout.split(), run.stderr) == (["SSLError", "ConnectionError", "200", "1"], "")

    def test_sixty_four_threads(self, sandbox: Sandbox, authorization_server: AuthorizationServer) -> None:
        """Many threads that connect at once get a token each, and each token has its own number."""
        tokens = {answer.json()["access_token"] for answer in at_once(64, authorization_server.ask)}
        assert len(tokens) == 64
        assert sorted(exchange.token_number or 0 for exchange in sandbox.token_requests) == list(range(1, 65))

    def test_closing_is_quick_and_leaves_nothing(self) -> None:
        """The block ends at once, whatever clients wait for, and no thread, socket or file is left."""
        before, started = set(threading.enumerate()), time.perf_counter()
        with Sandbox() as sandbox:
            sandbox.token_delay = 60
            sandbox.hold_token_requests().__enter__()
            connections = [tls(sandbox) for _ in range(5)]
            for connection in connections[1:]:
                connection.sendall(b"POST /realms/gopacs HTTP/1.1\r\nHost: x\r\n\r\n")
            sandbox.wait_for_token_requests(4)
        assert time.perf_counter() - started < 30
        assert set(threading.enumerate()) <= before
        assert not os.path.exists(sandbox.ca_file)
        with pytest.raises(requests.ConnectionError, match="refused"):
            requests.get(sandbox.api_url, timeout=10)
        for connection in connections:
            connection.close()


class TestRecord:
    def test_holds_what_was_sent(self, sandbox: Sandbox) -> None:
        """An exchange on record tells all that was sent, when, and how it was answered; its repr tells no secret."""
        with sandbox.session() as session:
            session.post(f"{sandbox.api_url}/messages?secret=1", data="hello", headers={"X-Many": "1, 2"})
        (token,), (api,) = sandbox.token_requests, sandbox.api_requests
        assert (token.method, token.path, token.status, token.token_number) == ("POST", TOKEN_PATH, 200, 1)
        assert (token.is_token_request, api.is_token_request, token.authorization) == (True, False, None)
        assert f"client_secret={sandbox.client_secret}".encode() in token.body
        assert (api.method, api.path, api.query, api.body) == ("POST", "/messages", "secret=1", b"hello")
        assert (api.status, api.token_number, api.headers["x-many"]) == (200, 1, "1, 2")
        assert token.started < api.started < time.monotonic()
        assert not {"secret", "Bearer", "hello"} & {*re.findall(r"\w+", repr(api))}

    @pytest.mark.parametrize("wrong, error", [("on_request", ZeroDivisionError), ("answer €", UnicodeEncodeError)])
    def test_errors_come_out(self, wrong: str, error: type[Exception]) -> None:
        """What goes wrong in a thread of the sandbox is a 500 to the client, and raised where the block ends."""
        sandbox = Sandbox(on_request=lambda _: 1 / 0 if wrong == "on_request" else None).__enter__()
        sandbox.answer_next_api_requests(1, 200, headers={"X-Wrong": wrong})
        with requests.Session() as session:
            sandbox.trust(session)
            assert session.get(sandbox.api_url).status_code == 500
        with pytest.raises(error):
            sandbox.__exit__()


class TestPlans:
    def test_in_order(self, sandbox: Sandbox, authorization_server: AuthorizationServer) -> None:
        """Answers are given in the order of planning, apart for tokens and API, until the plan ends or is dropped."""
        sandbox.answer_next_token_requests(2, 503, headers={"Retry-After": "1"})
        sandbox.answer_next_token_requests(1, 200, body={"access_token": "planned"})
        sandbox.answer_next_api_requests(math.inf, 307)
        answers = [authorization_server.ask() for _ in range(4)]
        assert [answer.status_code for answer in answers] == [503, 503, 200, 200]
        assert [exchange.token_number for exchange in sandbox.token_requests] == [None, None, 1, 2]
        assert (answers[0].headers["Retry-After"], answers[2].json()) == ("1", {"access_token": "planned"})
        assert {authorization_server.call("planned").status_code for _ in range(5)} == {307}
        sandbox.answer_next_api_requests(0, 307)
        assert authorization_server.call("planned").status_code == 200

    @pytest.mark.parametrize("status", [0, 1, 99, 600])
    def test_no_status(self, sandbox: Sandbox, status: int) -> None:
        """A status that HTTP does not have is refused, as where it was given in place of the number of requests."""
        for plan in sandbox.answer_next_api_requests, sandbox.answer_next_token_requests:
            with pytest.raises(ValueError, match=f"no HTTP status {status}: give the number of requests first"):
                plan(404, status)

    def test_hold(self, sandbox: Sandbox, authorization_server: AuthorizationServer) -> None:
        """Token requests in the block are on record at once, and answered when it ends; API requests, meanwhile."""
        with sandbox.hold_token_requests():
            asking = [in_background(authorization_server.ask) for _ in range(2)]
            sandbox.wait_for_token_requests(2)
            assert authorization_server.call(None).status_code == 401
            with pytest.raises(TimeoutError, match=r"2 of 3 token requests arrived within 0\.01 s"):
                sandbox.wait_for_token_requests(3, timeout=0.01)
            assert not any(answer.done() for answer in asking)
        assert [answer.result(10).status_code for answer in asking] == [200, 200]


class TestUse:
    def test_arguments(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Port, client, lifetime and the place of the CA's certificate can be chosen; the last is new each time."""
        monkeypatch.chdir(tmp_path)
        sandbox, seen = Sandbox(port=unassigned_port(), client_secret="s", token_lifetime=7.5, ca_file="ca.pem"), set()
        for _ in range(2):
            with sandbox, sandbox.session(timeout=7) as session:
                assert sandbox.environment.ca_bundle == sandbox.ca_file == str(tmp_path / "ca.pem")
                assert (session.timeout, session.fetch_token()["expires_in"]) == (7, 7.5)
                seen.add(Path(sandbox.ca_file).read_text())
                with pytest.raises(OSError, match="in use"):
                    Sandbox(port=int(sandbox.api_url.rpartition(":")[2])).__enter__()
        assert b"client_id=sandbox&client_secret=s" in sandbox.token_requests[0].body
        assert (len(seen), "PRIVATE" in "".join(seen)) == (2, False)

    @pytest.mark.parametrize("missing", ["trustme", "tornado"])
    def test_without_the_extra(self, missing: str) -> None:
        """Where the extra is not installed, to import the sandbox says what to install."""
        code = f"import sys; sys.modules['{missing}'] = None; import gopacs_session.sandbox"
        run = subprocess.run([sys.executable, "-c", code], text=True, stderr=-1, timeout=10)
        assert re.search(rf"The sandbox needs {missing}.*: pip install 'gopacs_session\[sandbox\]'\n$", run.stderr)

    def test_settings_of_the_user(self, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
        """Proxies and CA bundles of the machine divert neither a session of the sandbox's nor one that trusts it."""
        for name in "HTTPS_PROXY", "ALL_PROXY", "https_proxy":
            monkeypatch.setenv(name, "http://127.0.0.1:9")
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/missing.pem")
        with sandbox.session() as session, requests.Session() as plain:
            sandbox.trust(plain)
            for one, status in (session, 200), (plain, 401):
                with pickle.loads(pickle.dumps(one)) as copied:
                    assert [each.get(sandbox.api_url).status_code for each in (one, copied)] == [status, status]
