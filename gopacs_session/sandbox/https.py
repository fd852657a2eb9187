"""HTTP/1.1 over TLS on loopback, by tornado: what comes in and goes out, and how any session of requests gets there."""

import asyncio
import json
import logging
import socket
import ssl
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from email.utils import formatdate
from functools import partial
from http.client import responses
from time import monotonic
from typing import Any, NamedTuple

import requests
import trustme
from requests.adapters import HTTPAdapter
from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPHeaders, HTTPServerRequest, ResponseStartLine
from tornado.ioloop import IOLoop

LARGEST_BODY = 16 << 20  # bytes

# A client that does not trust the certificate is no news on standard error; who configures logging sees it.
logging.getLogger("tornado").addHandler(logging.NullHandler())

Body = bytes | str | Mapping[str, Any] | None
Headers = Mapping[str, str] | None


@dataclass(eq=False)
class Exchange:
    """One request to the sandbox, and what became of it. Its repr shows nothing that may hold a secret.

    Attributes:
        method (str): ``"POST"`` and the like.
        path, query (str): what was sent before and after the ``?``.
        headers (Mapping[str, str]): by name in any case; the values of a repeated header are joined with commas.
        body (bytes): freed from any chunking.
        started (float): ``time.monotonic()`` of the request's arrival, in seconds.
        status (int): HTTP status of the answer.
        token_number (int | None): which of the tokens issued, counted from 1, the request obtained or bore.
    """

    method: str
    path: str
    query: str = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    started: float
    status: int = 0
    token_number: int | None = None

    @property
    def authorization(self) -> str | None:
        """The ``Authorization`` header."""
        return self.headers.get("Authorization")

    @property
    def is_token_request(self) -> bool:
        """Whether it went to the authorization server, at a path below ``/realms/``, and not to the API."""
        return self.path.startswith("/realms/")


class Answer(NamedTuple):
    status: int
    body: bytes
    headers: Mapping[str, str]
    token: object = None  # that it hands out


def make_answer(status: int, body: Body = None, headers: Headers = None) -> Answer:
    headers = headers or {}
    if status in (204, 304) or body is None:  # The two have no body (RFC 9110 section 6.4.1).
        return Answer(status, b"", headers)
    if isinstance(body, bytes):
        return Answer(status, body, headers)
    if isinstance(body, str):
        return Answer(status, body.encode(), {"Content-Type": "text/html;charset=utf-8", **headers})
    content = json.dumps(body, separators=(",", ":")).encode()
    return Answer(status, content, {"Content-Type": "application/json", **headers}, body.get("access_token"))


class _Socket(ssl.SSLSocket):
    def getpeername(self) -> Any: ...  # Where it fails, SSLSocket leaks the socket of a client that has gone by then.


class Server:
    """Serves from its construction to `close`: one thread for all connections, others to judge requests by `answer`."""

    def __init__(self, port: int, authority: trustme.CA, answer: Callable[[Exchange], Answer]) -> None:
        self._socket = socket.create_server(("127.0.0.1", port), backlog=256)
        self._socket.setblocking(False)
        self.port = self._socket.getsockname()[1]
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.sslsocket_class = _Socket
        authority.issue_cert("localhost", "127.0.0.1").configure_cert(self._context)
        self._answer = answer
        self.errors: list[Exception] = []
        self._closing = asyncio.Event()
        self._loop = asyncio.SelectorEventLoop()  # which tornado needs, and which is not the default on Windows
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._closing.set)
        self._thread.join()

    def _run(self) -> None:
        with ThreadPoolExecutor(max_workers=512, thread_name_prefix="gopacs_session sandbox") as threads:
            self._loop.set_default_executor(threads)
            self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self) -> None:
        respond = partial(IOLoop.current().add_callback, self._respond)
        server = HTTPServer(respond, ssl_options=self._context, max_body_size=LARGEST_BODY)
        server.add_socket(self._socket)
        await self._closing.wait()
        server.stop()
        await server.close_all_connections()
        await asyncio.gather(*asyncio.all_tasks() - {asyncio.current_task()})

    async def _respond(self, request: HTTPServerRequest) -> None:
        exchange = Exchange(request.method, request.path, request.query, request.headers, request.body, monotonic())
        try:
            _send(await asyncio.to_thread(self._answer, exchange), request)
        except Exception as error:  # noqa: BLE001 - raised where the sandbox's block ends
            self.errors.append(error)
            _send(make_answer(500), request)


def _send(answer: Answer, request: HTTPServerRequest) -> None:
    connection: Any = request.connection
    start_line = ResponseStartLine("HTTP/1.1", answer.status, responses.get(answer.status, ""))
    headers = {"Content-Length": str(len(answer.body)), "Date": formatdate(usegmt=True), **answer.headers}
    connection.write_headers(start_line, HTTPHeaders(headers), None if request.method == "HEAD" else answer.body)
    connection.finish()


class SandboxAdapter(HTTPAdapter):
    """Trusts one CA, and uses no proxy. REQUESTS_CA_BUNDLE and the proxy variables beat a session's own settings."""

    __attrs__ = [*HTTPAdapter.__attrs__, "ca_file"]
    ca_file: str

    def send(self, request: requests.PreparedRequest, *args: Any, **options: Any) -> requests.Response:
        return super().send(request, *args, **{**options, "verify": self.ca_file, "proxies": {}})
