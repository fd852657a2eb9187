"""Servers that do what no decent one does, and a proxy: small, real, on loopback."""

from __future__ import annotations

import select
import socket
import socketserver
import ssl
import struct
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import trustme

from gopacs_session import Environment

Answer = Callable[[bytes], Iterable[bytes]]

TOKEN = b'{"access_token":"from-the-raw-server","expires_in":300,"token_type":"Bearer"}'


def http(body: bytes, *headers: str, status: str = "200 OK") -> bytes:
    """A well-formed answer, but for what the headers do to it.

    With ``Connection: close`` among them, no client sends its next request on a connection that is being closed.
    """
    lines = [f"HTTP/1.1 {status}", *(headers or [f"Content-Length: {len(body)}"]), "", ""]
    return "\r\n".join(lines).encode("latin-1") + body


def raw(answer: bytes) -> Answer:
    """These bytes to whatever was asked."""
    return lambda _: [answer]


def chunked(chunks: Iterable[bytes], *headers: str, status: str = "200 OK") -> Answer:
    """An answer in exactly these chunks (RFC 9112 section 7.1), each in a TLS record of its own."""

    def answer(_: bytes) -> Iterator[bytes]:
        yield http(b"", "Transfer-Encoding: chunked", *headers, status=status)
        for chunk in chunks:
            yield b"%x\r\n%s\r\n" % (len(chunk), chunk)
        yield b"0\r\n\r\n"

    return answer


def reset(_: bytes) -> Iterable[bytes]:
    """No answer: the connection is reset."""
    raise ConnectionResetError


class _Handler(socketserver.BaseRequestHandler):
    server: RawServer

    def handle(self) -> None:
        self.request.settimeout(10)
        with suppress(OSError), self.server.context.wrap_socket(self.request, server_side=True) as connection:
            self.server.client_certificates.append(connection.getpeercert())
            if not (request := _read_request(connection)):
                return
            script = self.server.script
            answer = script.pop(0) if len(script) > 1 else script[0]
            self.server.requests.append(request)
            try:
                for part in answer(request):
                    connection.sendall(part)
                    self.server.sent += len(part)
            except ConnectionResetError:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def _read_request(connection: ssl.SSLSocket) -> bytes:
    request = b""
    while b"\r\n\r\n" not in request:
        data = connection.recv(65536)
        if not data:
            return b""
        request += data
    head, _, body = request.partition(b"\r\n\r\n")
    length = next((int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0)
    while len(body) < length:
        body += connection.recv(65536)
    return head + b"\r\n\r\n" + body


class RawServer(socketserver.ThreadingTCPServer):
    """A TLS server that answers one request on each connection, with whatever bytes it is told, and hangs up.

    Args:
        script: the answers, in order; the last serves all further requests.
        client_certificates: whether clients must show a certificate of its CA.
        address: where to listen.

    Attributes:
        requests: what came, head and body.
        client_certificates: what each connection's client showed, as from :meth:`ssl.SSLSocket.getpeercert`.
        sent: bytes answered in all.
    """

    def __init__(
        self, script: Iterable[Answer], ca: trustme.CA, client_certificates: bool = False, address: str = "127.0.0.1"
    ) -> None:
        self.script = list(script)
        self.requests: list[bytes] = []
        self.client_certificates: list[Any] = []
        self.sent = 0
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        ca.issue_cert("localhost", address).configure_cert(self.context)
        if client_certificates:
            ca.configure_trust(self.context)
            self.context.verify_mode = ssl.CERT_REQUIRED
        self.address_family = socket.AF_INET6 if ":" in address else socket.AF_INET
        super().__init__((address, 0), _Handler)
        host = f"[{address}]" if ":" in address else "localhost"
        self.environment = Environment("raw", f"https://{host}:{self.server_address[1]}/token", (host,))

    def handle_error(self, request: Any, client_address: Any) -> None:
        raise


class Authority:
    """A certificate authority that outlives the servers it issues for.

    Attributes:
        ca_file: to be trusted.
        client_file: a client's certificate and key.
    """

    def __init__(self, directory: Path) -> None:
        self.ca = trustme.CA()
        self.ca_file = str(directory / "ca.pem")
        self.client_file = str(directory / "client.pem")
        self.ca.cert_pem.write_to_path(self.ca_file)
        self.ca.issue_cert("client@example.org", common_name="the client").private_key_and_cert_chain_pem.write_to_path(
            self.client_file
        )

    @contextmanager
    def server(self, *script: Answer, **options: Any) -> Iterator[RawServer]:
        with RawServer(script, self.ca, **options) as server, _serving(server):
            yield server


class _ProxyHandler(socketserver.StreamRequestHandler):
    server: Proxy

    def handle(self) -> None:
        method, target, _ = self.rfile.readline().decode().split()
        headers = {}
        while line := self.rfile.readline().decode().strip():
            name, _, value = line.partition(": ")
            headers[name] = value
        self.server.connects.append((method, target))
        self.server.authorizations.append(headers.get("Proxy-Authorization"))
        refusal = self.server.refusal
        if self.server.wants_credentials and "Proxy-Authorization" not in headers:
            refusal = "407 Proxy Authentication Required"
        if refusal:
            self.wfile.write(f"HTTP/1.1 {refusal}\r\nContent-Length: 0\r\n\r\n".encode())
            return
        host, _, port = target.rpartition(":")
        with socket.create_connection((host, int(port)), 10) as upstream:
            self.server.tunnels.append(upstream)
            self.wfile.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            _pump(self.connection, upstream)


def _pump(one: socket.socket, other: socket.socket) -> None:
    """Carry bytes both ways until either side hangs up."""
    with suppress(OSError):
        while True:
            for source in select.select([one, other], [], [], 10)[0]:
                target = other if source is one else one
                data = source.recv(65536)
                if not data:
                    return
                target.sendall(data)
                while isinstance(source, ssl.SSLSocket) and source.pending():  # What select does not see.
                    target.sendall(source.recv(source.pending()))


class Proxy(socketserver.ThreadingTCPServer):
    """An HTTP proxy for CONNECT (RFC 9110 section 9.3.6).

    Args:
        tls: for a proxy that is spoken to over TLS.

    Attributes:
        connects: method and target of each request, in order.
        authorizations: the Proxy-Authorization of the same.
        refusal: status and reason that it answers with; None to do its work.
        wants_credentials: whether it refuses whoever shows none.
    """

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.tls = tls
        self.connects: list[tuple[str, str]] = []
        self.authorizations: list[str | None] = []
        self.refusal: str | None = None
        self.wants_credentials = False
        self.tunnels: list[socket.socket] = []
        super().__init__(("127.0.0.1", 0), _ProxyHandler)
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.server_address[1]}"

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = super().get_request()
        return self.tls.wrap_socket(connection, server_side=True) if self.tls else connection, address


@contextmanager
def proxying(tls: ssl.SSLContext | None = None) -> Iterator[Proxy]:
    with Proxy(tls) as proxy, _serving(proxy):
        yield proxy
        for tunnel in proxy.tunnels:
            with suppress(OSError):
                tunnel.shutdown(socket.SHUT_RDWR)


@contextmanager
def _serving(server: socketserver.BaseServer) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever, args=[0.01])
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
