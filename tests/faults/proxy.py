"""A proxy of faults between a session and the sandbox.

It ends TLS on both sides and reads HTTP: so it tells a token request from an API request, cuts an answer in its head or
its body, and sends TLS alerts. Toxiproxy does none of these, for it sees the ciphertext only; and it would have every
developer install Go.
"""

from __future__ import annotations

import re
import select
import socket
import socketserver
import ssl
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from random import Random
from typing import Any, BinaryIO

import trustme

from gopacs_session import Environment
from gopacs_session.sandbox import Sandbox

AUTH_HOST, API_HOST = "auth.storm.test", "api.storm.test"
LONG = 60.0  # seconds; whatever waits so long ends when the fault ends

HANDSHAKE_FAILURE = bytes.fromhex("15 0303 0002 02 28")  # a fatal alert in the clear, RFC 8446 section 6


class Passage:
    """One request on its way through the proxy.

    Attributes:
        request: head and body, as they came.
        client: the connection that it came on.
        is_token_request: whether it is one.
        process: which sent it, if it is one.
        renewal: which one it is a try of, if it is one.
        token_age: seconds since its token was first seen.
    """

    def __init__(self, proxy: Proxy, client: ssl.SSLSocket, upstream: _Upstream, request: tuple[bytes, bytes]) -> None:
        self.request, self.client = request, client
        self.is_token_request = request[0].startswith(b"POST /realms/")
        self.token_age = proxy.age_of(header(request[0], "Authorization"))
        self.process, _, self.renewal = header(request[0], "X-Renewal").partition("-")
        self._proxy, self._upstream = proxy, upstream

    def forward(self) -> tuple[bytes, bytes]:
        """Head and body of the sandbox's answer."""
        return self._upstream.exchange(b"".join(self.request))

    def wait(self, seconds: float) -> None:
        """Let time pass, at most until the fault ends."""
        self._proxy.calm.wait(seconds)

    def answer(self, *parts: bytes, every: float = 0.0) -> None:
        """Send an answer, with pauses between its parts."""
        for part in parts[:-1]:
            self.client.sendall(part)
            self.wait(every)
        # Before its end: the client may be here with the next request sooner than this thread comes back.
        self._proxy.landed(self)
        self.client.sendall(parts[-1])

    def alert(self) -> None:
        """Send a TLS alert, past the encryption."""
        self._proxy.landed(self)
        socket.socket.sendall(self.client, HANDSHAKE_FAILURE)

    def hung_up(self) -> bool:
        """Whether the client has closed the connection."""
        poll = select.poll()
        try:
            poll.register(self.client, select.POLLIN)
            return bool(poll.poll(0)) and socket.socket.recv(self.client, 1, socket.MSG_PEEK) == b""
        except (OSError, ValueError):  # ValueError: it is closed on this side too.
            return True


class HangUp(Exception):
    """Ends a connection in the normal way; ConnectionResetError ends it with an RST."""


OnConnection = Callable[[socket.socket, threading.Event], None]
OnRequest = Callable[[Passage], None]


def header(head: bytes, name: str) -> str:
    """The value of a header; empty if there is none."""
    found = re.search(rb"(?i)\r\n%s: *([^\r]*)" % name.encode(), head)
    return found[1].decode() if found else ""


def _read_message(reader: BinaryIO) -> tuple[bytes, bytes]:
    """Head and body of an HTTP message; both empty if there is none any more."""
    head = b""
    while (line := reader.readline()) not in (b"\r\n", b""):
        head += line
    if not line:
        return b"", b""
    if b"\r\ntransfer-encoding: chunked" in head.lower():
        return head + line, b"".join(_chunks(reader))
    length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
    body = reader.read(int(length[1])) if length else b""
    if length and len(body) < int(length[1]):
        raise HangUp
    return head + line, body


def _chunks(reader: BinaryIO) -> Iterator[bytes]:
    """A chunked body, as it comes."""
    size = 1
    while size:
        line = reader.readline()
        if not line:
            raise HangUp
        size = int(line, 16)
        yield line + reader.read(size + 2)


class _Upstream:
    """A connection to the sandbox, made when it is first needed."""

    def __init__(self, address: tuple[str, int], context: ssl.SSLContext) -> None:
        self._address, self._context = address, context
        self._connection: ssl.SSLSocket | None = None

    def exchange(self, request: bytes) -> tuple[bytes, bytes]:
        if self._connection is None:
            plain = socket.create_connection(self._address, LONG)
            self._connection = self._context.wrap_socket(plain, server_hostname="localhost")
            self._reader = self._connection.makefile("rb")
        self._connection.sendall(request)
        head, body = _read_message(self._reader)
        if not head:
            raise HangUp
        return head, body

    def close(self) -> None:
        if self._connection:
            self._reader.close()
            self._connection.close()


class _Handler(socketserver.BaseRequestHandler):
    server: Proxy

    def handle(self) -> None:
        try:
            with suppress(HangUp, OSError):
                self._serve()
        finally:
            self.request.close()
            self.server.forget(self)

    def _serve(self) -> None:
        """The connection from its start to its end, which is an RST if a fault says so."""
        self.request.settimeout(LONG)
        try:
            if misfortune := self.server.misfortune(self):
                misfortune(self.request, self.server.calm)
            wrap = self.server.context.wrap_socket
            self.request = wrap(self.request, server_side=True, do_handshake_on_connect=False)
            self.request.do_handshake()
            self._serve_requests()
        except ConnectionResetError:
            self.request.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def _serve_requests(self) -> None:
        upstream = self.server.upstream()
        try:
            with self.request.makefile("rb") as reader:
                while (request := _read_message(reader))[0]:
                    self._serve_request(Passage(self.server, self.request, upstream, request))
        finally:
            upstream.close()

    def _serve_request(self, passage: Passage) -> None:
        fault = self.server.took_off(passage, self)
        try:
            if fault:
                fault(passage)
            else:
                head, body = passage.forward()
                self.server.note_answer(passage, head)
                passage.answer(head + body)
        finally:
            self.server.landed(passage)
        self.server.forget(self)


class Proxy(socketserver.ThreadingTCPServer):
    """The proxy, at https://auth.storm.test and https://api.storm.test, which :class:`Names` resolves.

    Args:
        sandbox: what is behind it.
        directory: where its CA goes.
        random: decides whom a fault hits.
        clock: the session's monotonic clock.

    Attributes:
        environment: to make a session for.
        api_url: without a slash at its end.
        ca_file: to be trusted.
        calm: whether there is no fault.
        faults: how often each fault hit.
        renewals: process and renewal of each token request, in order.
        most_token_requests: how many of a process were in flight at a time, at most, while it waited for the answer.
        hasty: the answers which said not to come back soon, and after which their client came back all the same.
    """

    request_queue_size = 256

    def __init__(self, sandbox: Sandbox, directory: Path, random: Random, clock: Callable[[], float]) -> None:
        self.calm = threading.Event()
        self.calm.set()
        self.faults: Counter[str] = Counter()
        self.renewals: list[tuple[str, str]] = []
        self.most_token_requests = 0
        self.hasty: list[str] = []
        self._quiet: dict[str, tuple[float, str]] = {}
        self._first_seen: dict[str, float] = {}
        self._random, self._clock = random, clock
        self._changed = threading.Condition()
        self._on_connection: OnConnection | None = None
        self._on_request: OnRequest | None = None
        self._share, self._tokens, self._api = 0.0, False, False
        self._hit: set[_Handler] = set()
        self._in_flight: set[Passage] = set()
        self._handlers: set[_Handler] = set()
        super().__init__(("127.0.0.1", 0), _Handler)
        self._set_up_tls(directory, sandbox)
        port = self.server_address[1]
        token_url = sandbox.environment.token_url.replace(sandbox.api_url, f"https://{AUTH_HOST}:{port}")
        self.environment = Environment("storm", token_url, ("storm.test",))
        self.api_url = f"https://{API_HOST}:{port}"

    def _set_up_tls(self, directory: Path, sandbox: Sandbox) -> None:
        ca = trustme.CA()
        self.ca_file = str(directory / "storm.pem")
        ca.cert_pem.write_to_path(self.ca_file)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        ca.issue_cert(AUTH_HOST, API_HOST).configure_cert(self.context)
        self._behind = ("127.0.0.1", int(sandbox.api_url.rpartition(":")[2]))
        self._client_context = ssl.create_default_context(cafile=sandbox.ca_file)

    def upstream(self) -> _Upstream:
        return _Upstream(self._behind, self._client_context)

    # -- the weather ---------------------------------------------------------------------------------------------------

    def break_connections(self, fault: OnConnection, share: float) -> None:
        """Have `fault` befall this share of the connections to come; those that exist are closed."""
        with self._changed:
            self._on_connection, self._share = fault, share
            self.calm.clear()
        self.hang_up()

    def break_requests(self, fault: OnRequest, share: float, *, tokens: bool = True, api: bool = True) -> None:
        """Have `fault` befall this share of the token requests, or of the API requests, or of both."""
        with self._changed:
            self._on_request, self._share, self._tokens, self._api = fault, share, tokens, api
            self.calm.clear()

    def heal(self) -> None:
        """End the fault; return when nothing suffers from it any more."""
        with self._changed:
            self._on_connection = self._on_request = None
            self.calm.set()
            if not self._changed.wait_for(lambda: not self._hit, LONG):
                raise TimeoutError(f"{len(self._hit)} connections still suffer.")

    def hang_up(self) -> None:
        """Close the connections that clients keep for later, and break those in use."""
        with self._changed:
            for handler in self._handlers:
                with suppress(OSError):
                    socket.socket.shutdown(handler.request, socket.SHUT_RDWR)

    def wait_until_connections_are(self, n: int) -> bool:
        """Whether clients come to have no more than `n` connections open."""
        with self._changed:
            return self._changed.wait_for(lambda: len(self._handlers) <= n, 10)

    # -- what the connections tell -------------------------------------------------------------------------------------

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Not printed, but raised in the thread, where pytest sees it."""
        raise

    def misfortune(self, handler: _Handler) -> OnConnection | None:
        """What befalls a new connection, if anything."""
        with self._changed:
            self._handlers.add(handler)
            fault = self._on_connection if self._random.random() < self._share else None
            if fault:
                self._note(fault.__name__, handler)
            return fault

    def took_off(self, passage: Passage, handler: _Handler) -> OnRequest | None:
        """What befalls a request that has arrived, if anything."""
        with self._changed:
            if passage.is_token_request:
                self._note_token_request(passage)
            concerned = self._tokens if passage.is_token_request else self._api
            fault = self._on_request if concerned and self._random.random() < self._share else None
            if fault:
                self._note(fault.__name__, handler)
            return fault

    def _note(self, name: str, handler: _Handler) -> None:
        self.faults[name] += 1
        self._hit.add(handler)

    def _note_token_request(self, passage: Passage) -> None:
        self.renewals.append((passage.process, passage.renewal))
        # A client that timed out has gone, and may try again.
        self._in_flight = {other for other in self._in_flight if not other.hung_up()} | {passage}
        own = [other for other in self._in_flight if other.process == passage.process]
        self.most_token_requests = max(self.most_token_requests, len(own))
        until, answer = self._quiet.pop(passage.process, (0.0, ""))
        if self._clock() < until:
            self.hasty.append(answer)

    def note_answer(self, passage: Passage, head: bytes) -> None:
        """An answer is to be sent as it is: it may say not to come back for a while."""
        if not passage.is_token_request:
            return
        wait = float(header(head, "Retry-After")) if header(head, "Retry-After").isdecimal() else 0.0
        if head.split()[1] == b"401":
            self._quiet[passage.process] = self._clock() + 1, "401"
        elif wait > 5:
            self._quiet[passage.process] = self._clock() + wait, f"Retry-After: {wait:g}"

    def age_of(self, authorization: str) -> float:
        """Seconds since it was first seen."""
        return time.monotonic() - self._first_seen.setdefault(authorization, time.monotonic())

    def landed(self, passage: Passage) -> None:
        """An answer is on its way, or there will be none."""
        with self._changed:
            self._in_flight.discard(passage)

    def forget(self, handler: _Handler) -> None:
        """A connection is well again, or gone."""
        with self._changed:
            self._hit.discard(handler)
            if handler.request.fileno() == -1:
                self._handlers.discard(handler)
            self._changed.notify_all()


@contextmanager
def running(proxy: Proxy) -> Iterator[Proxy]:
    """Serve until the end of the block, whose end ends all connections."""
    thread = threading.Thread(target=proxy.serve_forever, args=[0.01])
    thread.start()
    with proxy:
        try:
            yield proxy
        finally:
            proxy.shutdown()
            thread.join()
            proxy.calm.set()
            proxy.hang_up()


class Names:
    """A resolver that knows the proxy's hosts, in the place of :func:`socket.getaddrinfo`.

    Attributes:
        failing: hosts that it does not find.
        failures: how often that happened.
    """

    def __init__(self) -> None:
        self.failing: frozenset[str] = frozenset()
        self.failures = 0
        self._system = socket.getaddrinfo

    def __call__(self, host: Any, *args: Any, **kwargs: Any) -> Any:
        if host in self.failing:
            self.failures += 1
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return self._system("127.0.0.1" if host in (AUTH_HOST, API_HOST) else host, *args, **kwargs)
