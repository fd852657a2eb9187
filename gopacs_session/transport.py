"""How a token request travels: by a session's adapters, proxies and TLS settings, and with nothing else of it."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from time import perf_counter
from typing import Any

import requests
import urllib3
from urllib3.response import ContentDecoder

from .forking import forget_connections, watch
from .timeouts import Timeout, connect_and_read
from .tracebacks import causes

CONNECTION_ERRORS = (
    requests.ConnectionError,
    requests.Timeout,
    requests.exceptions.ChunkedEncodingError,
    requests.exceptions.ContentDecodingError,
    requests.exceptions.RetryError,
    urllib3.exceptions.HTTPError,
)
NETWORKS_OWN = (BrokenPipeError, ConnectionAbortedError, ConnectionRefusedError, ConnectionResetError)
LONGEST_ANSWER = 1 << 20  # bytes
CHUNK = 16384  # bytes
# Before 2.6, urllib3 decodes all that it has read: of gzip that becomes 1000 times as much, of others any amount.
PART = 1024
CODINGS = ("gzip", "deflate", "br", "zstd") if hasattr(ContentDecoder, "has_unconsumed_tail") else ("gzip", "deflate")


@dataclass
class TokenTransport:
    """Sends token requests.

    Args:
        session: whose adapters, proxies and TLS settings carry them.
        ca_bundle: the environment's.
    """

    session: requests.Session
    ca_bundle: str | None

    def __post_init__(self) -> None:
        watch(self)

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        watch(self)

    def after_fork(self) -> None:
        forget_connections(self.session)

    def send(self, request: requests.PreparedRequest, timeout: Timeout) -> requests.Response:
        """The answer to a token request, read whole; nothing of it but status, body and Retry-After.

        Raises:
            Exception: what requests, urllib3 or a mounted adapter raises.
        """
        # By a hook, which runs before anybody follows a redirect (a 307 would carry the secret to another host) or
        # keeps a cookie, whatever is wrapped around the session's send.
        seconds = timeout[1] if isinstance(timeout, tuple) else timeout
        request.register_hook("response", partial(_read_whole, seconds=seconds))
        verify = self.ca_bundle if self.session.verify is True else None
        settings = self.session.merge_environment_settings(str(request.url), {}, True, verify, None)
        return self.session.send(request, timeout=timeout, allow_redirects=False, **settings)


def from_a_signal_handler(error: Exception, elapsed: float, timeout: Timeout) -> BaseException | None:
    """What a signal handler raised, if `error` wraps that.

    The usual deadline is a handler that raises TimeoutError or ConnectionError, or a class of its own below these, and
    urllib3 takes them for the network's. But a socket's timeout does not come before its time, and the network breaks
    connections by classes below ConnectionError.

    Args:
        elapsed: seconds after which `error` came.
        timeout: that of the socket.
    """
    if threading.current_thread() is not threading.main_thread():
        return None  # Python runs handlers in the main thread only.
    *_, cause = causes(error)
    early = elapsed < 0.9 * min(connect_and_read(timeout))
    if isinstance(cause, TimeoutError) and cause.errno is None and early:
        return cause
    return cause if isinstance(cause, ConnectionError) and not isinstance(cause, NETWORKS_OWN) else None


def _read_whole(response: requests.Response, seconds: float, **_: Any) -> requests.Response:
    """Replace an answer by its status and body, without any header that somebody would act on."""
    with response:
        body = read_within(response, seconds, LONGEST_ANSWER)
    answer = requests.Response()
    answer.status_code, answer.url = response.status_code, response.url
    answer._content, answer._content_consumed = body, True
    # For what is wrapped around the session's send: requests-cache looks at it, and calls this hook once more.
    answer.request = response.request
    if "Retry-After" in response.headers:
        answer.headers["Retry-After"] = response.headers["Retry-After"]
    return answer


def read_within(response: requests.Response, seconds: float, limit: int) -> bytes:
    """The decoded body, or as much of it as `limit` bytes.

    Bounded as a whole: a timeout of requests is for each wait, and what comes may decode to nothing, or to gigabytes.

    Raises:
        requests.Timeout: it was not complete after `seconds`.
        urllib3.exceptions.HTTPError: the connection broke, or the body is not what its Content-Encoding says.
    """
    response.raw = response.raw or BytesIO()  # An adapter without a connection may leave it None.
    if isinstance(response._content, bytes):
        return response._content[:limit]
    raw, deadline, wire = response.raw, perf_counter() + seconds, bytearray()
    # read1 returns what has arrived; read would wait for all of CHUNK, with a timeout for each byte.
    read = partial(raw.read1, decode_content=False) if isinstance(raw, urllib3.HTTPResponse) else raw.read
    while len(wire) <= limit and (part := read(CHUNK)):
        wire += part
        if perf_counter() > deadline:
            raise requests.Timeout(f"The answer was not complete after {seconds:g} s.")
    coding = response.headers.get("Content-Encoding", "").lower()
    body = _decoded(bytes(wire), coding, limit) if coding in CODINGS else bytes(wire)
    return body[:limit]


def _decoded(body: bytes, coding: str, limit: int) -> bytes:
    """What `body` decodes to, or a little more than `limit` bytes of it."""
    response = urllib3.HTTPResponse(BytesIO(body), {"Content-Encoding": coding}, preload_content=False)
    decoded = bytearray()
    while len(decoded) <= limit and (part := response.read(PART)):
        decoded += part
    return bytes(decoded)
