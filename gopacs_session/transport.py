"""A request of our own on a session's connections: nothing else of the user's goes along, and no answer is endless."""

from __future__ import annotations

from time import perf_counter

import requests
from requests.cookies import RequestsCookieJar

from .timeouts import Timeout

CONNECTION_ERRORS = (
    requests.ConnectionError,
    requests.Timeout,
    requests.exceptions.ChunkedEncodingError,
    requests.exceptions.ContentDecodingError,
    requests.exceptions.RetryError,
)
LONGEST_ANSWER = 1 << 20  # bytes
CHUNK = 64  # Small, so that a server that feeds a body byte by byte soon meets the time limit.


def send(session: requests.Session, request: requests.PreparedRequest, timeout: Timeout) -> requests.Response:
    """Send it through the adapters, proxies and TLS settings of `session`."""
    # A twin, so that cookies of the token endpoint do not come back with the user's requests.
    transport: requests.Session = object.__new__(type(session))
    # No redirect is even looked at: one would carry the secret to another place (307), or its body into memory.
    transport.__dict__ = {
        **session.__dict__, "cookies": RequestsCookieJar(), "get_redirect_target": lambda response: None
    }  # fmt: skip
    settings = transport.merge_environment_settings(str(request.url), {}, True, None, None)
    return transport.send(request, timeout=timeout, **settings)


def read(response: requests.Response, limit: float) -> bytes:
    """The body, or its first MiB, in at most `limit` seconds: a timeout of requests is for each byte, not for all."""
    deadline, body = perf_counter() + limit, bytearray()
    for chunk in response.iter_content(CHUNK):
        body += chunk
        if perf_counter() > deadline:
            raise requests.Timeout("The answer does not end.")
        if len(body) > LONGEST_ANSWER:
            break
    return bytes(body)
