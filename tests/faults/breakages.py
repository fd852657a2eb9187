"""What the proxy can do to a connection or to a request on its way; the name and the docstring say what."""

from __future__ import annotations

import re
import socket
import threading

from .proxy import HANDSHAKE_FAILURE, LONG, HangUp, OnConnection, OnRequest, Passage

# -- what can befall a connection --------------------------------------------------------------------------------------


def reset_in_handshake(client: socket.socket, calm: threading.Event) -> None:
    """The connection is reset after the client's first words; before them, CPython's SSLSocket would leak a socket."""
    client.recv(65536)
    raise ConnectionResetError


def alert_in_handshake(client: socket.socket, calm: threading.Event) -> None:
    """The TLS handshake ends in an alert."""
    client.recv(65536)
    client.sendall(HANDSHAKE_FAILURE)
    raise HangUp


def silence_on_arrival(client: socket.socket, calm: threading.Event) -> None:
    """The connection is accepted, and nothing follows."""
    calm.wait(LONG)
    raise HangUp


REFUSAL = b'HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Bearer error="invalid_token"\r\nContent-Length: 20\r\n\r\n'


# -- what can befall a request -----------------------------------------------------------------------------------------


def late_answer(passage: Passage) -> None:
    """The answer comes late, perhaps too late."""
    head, body = passage.forward()
    passage.wait(0.3)
    passage.answer(head + body)


def late_request(passage: Passage) -> None:
    """The request comes late, perhaps when nobody waits for the answer any more."""
    passage.wait(0.3)
    head, body = passage.forward()
    passage.answer(head + body)


def drip(passage: Passage) -> None:
    """The answer comes in small parts."""
    head, body = passage.forward()
    answer = head + body
    passage.answer(*(answer[start : start + 200] for start in range(0, len(answer), 200)), every=0.01)


def trickle(passage: Passage) -> None:
    """A token answer comes byte by byte, for longer than anybody waits for it; or a refusal does."""
    head, body = passage.forward() if passage.is_token_request else (REFUSAL, b"x" * 20)
    passage.client.sendall(head)
    passage.answer(*(body[start : start + 1] for start in range(len(body))), every=0.03)


def young_token(passage: Passage) -> None:
    """A token that is young is refused."""
    head, body = (REFUSAL, b"x" * 20) if passage.token_age < 0.2 else passage.forward()
    passage.answer(head + body)


def reset_before_the_answer(passage: Passage) -> None:
    """The request is executed, and the connection reset instead of an answer."""
    passage.forward()
    raise ConnectionResetError


def reset_in_the_head(passage: Passage) -> None:
    """The connection is reset in the middle of the answer's head."""
    head, _ = passage.forward()
    passage.answer(head[: len(head) // 2])
    raise ConnectionResetError


def reset_in_the_body(passage: Passage) -> None:
    """The connection is reset in the middle of the answer's body."""
    head, body = passage.forward()
    passage.answer(head + body[: len(body) // 2])
    raise ConnectionResetError


def closed_in_the_body(passage: Passage) -> None:
    """Half a JSON, where the head promises all of it."""
    head, body = passage.forward()
    passage.answer(head + body[: len(body) // 2])
    raise HangUp


def closed_in_a_chunk(passage: Passage) -> None:
    """Half a JSON, in a chunk that is not whole."""
    head, body = passage.forward()
    chunked = _with_header(head, b"Transfer-Encoding: chunked")
    passage.answer(chunked + b"%x\r\n" % len(body) + body[: len(body) // 2])
    raise HangUp


def half_a_json(passage: Passage) -> None:
    """Half a JSON, and a head that promises no more."""
    head, body = passage.forward()
    half = body[: len(body) // 2]
    passage.answer(_with_header(head, b"Content-Length: %d" % len(half)) + half)


def slow_close(passage: Passage) -> None:
    """An answer that ends with the connection, which is closed late."""
    head, body = passage.forward()
    passage.answer(_with_header(head, b"Connection: close") + body)
    passage.wait(0.2)
    raise HangUp


def alert_in_the_body(passage: Passage) -> None:
    """A TLS alert in the middle of the answer's body."""
    head, body = passage.forward()
    passage.client.sendall(head + body[: len(body) // 2])
    passage.alert()
    raise HangUp


def request_swallowed(passage: Passage) -> None:
    """The request is not executed, and nothing comes back."""
    passage.wait(LONG)
    raise HangUp


def answer_swallowed(passage: Passage) -> None:
    """The request is executed, and nothing comes back."""
    passage.forward()
    passage.wait(LONG)
    raise HangUp


def bad_gateway(passage: Passage) -> None:
    """The HTML of a gateway, whose server may or may not have executed the request."""
    passage.forward()
    head = b"HTTP/1.1 502 Bad Gateway\r\nContent-Type: text/html\r\nContent-Length: 37\r\n\r\n"
    passage.answer(head + b"<html><h1>502 Bad Gateway</h1></html>")


ON_CONNECTION: tuple[OnConnection, ...] = (reset_in_handshake, alert_in_handshake, silence_on_arrival)
ON_REQUEST: tuple[OnRequest, ...] = (
    late_answer,
    late_request,
    drip,
    trickle,
    reset_before_the_answer,
    reset_in_the_head,
    reset_in_the_body,
    closed_in_the_body,
    closed_in_a_chunk,
    half_a_json,
    slow_close,
    alert_in_the_body,
    request_swallowed,
    answer_swallowed,
    bad_gateway,
)


def _with_header(head: bytes, header: bytes) -> bytes:
    """`head` with this header in the place of its Content-Length."""
    return re.sub(rb"(?i)content-length: *\d+", header, head)
