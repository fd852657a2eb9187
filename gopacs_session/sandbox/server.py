"""HTTP/1.1 over TLS on loopback: a thread for each connection, and none left behind."""

from __future__ import annotations

import os
import socket
import socketserver
import ssl
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from http.client import responses
from http.server import BaseHTTPRequestHandler
from time import monotonic
from typing import Any

from .body import BodyError, read_body
from .exchange import Answer, Exchange, Headers


class Connection(BaseHTTPRequestHandler):
    """HTTP/1.1 with one client: reads requests, has the server answer them, writes the answers."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Server

    def _exchange(self) -> None:
        started, headers = monotonic(), Headers()
        for name, value in self.headers.items():
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        try:
            body = read_body(headers, self.rfile)
        except BodyError as error:
            self.send_error(error.status)
            return
        path, _, query = self.path.partition("?")
        request = Exchange(self.command, path, query, headers, body, started)
        try:
            answer = self.server.answer(request)
        except Exception as error:
            self.server.errors.append(error)
            raise ConnectionAbortedError("The sandbox broke down over this request.") from error
        lines = [f"{self.protocol_version} {answer.status} {responses.get(answer.status, '')}"]
        lines += [f"{name}: {value}" for name, value in {"Content-Length": len(answer.body), **answer.headers}.items()]
        content = b"" if self.command == "HEAD" else answer.body
        self.wfile.write("\r\n".join([*lines, "", ""]).encode("latin-1") + content)

    do_DELETE = do_GET = do_HEAD = do_OPTIONS = do_PATCH = do_POST = do_PUT = _exchange

    def log_message(self, *args: Any) -> None:
        """Nothing is printed: the sandbox keeps records."""


class TlsSocket(ssl.SSLSocket):
    def getpeername(self) -> Any:
        """Nothing: where this fails, SSLSocket leaks the socket of a client that went away before it was accepted."""


class Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
    """A thread for each TLS connection, all of which end with `close`.

    Args:
        answer: judges a request, in the thread of its connection.
    """

    allow_reuse_address = os.name == "posix"
    request_queue_size = 256

    def __init__(self, port: int, context: ssl.SSLContext, answer: Callable[[Exchange], Answer]) -> None:
        self.answer = answer
        self.errors: list[BaseException] = []
        self._context = context
        context.sslsocket_class = TlsSocket
        self._connections: dict[threading.Thread, socket.socket] = {}
        self._closing_one = threading.Lock()
        try:
            super().__init__(("127.0.0.1", port), Connection)
        except OSError as error:
            fault = f"The sandbox cannot listen on 127.0.0.1:{port}: {error.strerror}. Choose another port."
            raise OSError(error.errno, fault) from None
        self._acceptor = threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True)
        self._acceptor.start()

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = super().get_request()
        # The handshake comes with the first read, so that no client keeps others waiting.
        return self._context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False), address

    def process_request(self, request: Any, client_address: Any) -> None:
        thread = threading.Thread(target=self.process_request_thread, args=(request, client_address), daemon=True)
        self._connections = {t: connection for t, connection in self._connections.items() if t.is_alive()}
        self._connections[thread] = request
        thread.start()

    def shutdown_request(self, request: Any) -> None:
        with self._closing_one:
            super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        error = sys.exc_info()[1]
        if error and not isinstance(error, OSError):  # Clients go away, or do not trust the certificate.
            self.errors.append(error)

    def close(self) -> None:
        self.shutdown()
        self.server_close()
        with self._closing_one:
            for connection in self._connections.values():
                with suppress(OSError):
                    # SSLSocket.shutdown would take the TLS state away under the thread that reads.
                    socket.socket.shutdown(connection, socket.SHUT_RDWR)
        for thread in (self._acceptor, *self._connections):
            thread.join()
