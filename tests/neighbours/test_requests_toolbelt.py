"""requests-toolbelt: uploads, adapters, a base URL, and its pool of threads."""

from __future__ import annotations

import hashlib
import io
import socket
import ssl
from collections.abc import Callable
from typing import Any

import psutil
import pytest
from requests_toolbelt import (
    MultipartDecoder,
    MultipartEncoder,
    MultipartEncoderMonitor,
    StreamingIterator,
    sessions,
    threaded,
)
from requests_toolbelt.adapters.fingerprint import FingerprintAdapter
from requests_toolbelt.adapters.socket_options import TCPKeepAliveAdapter
from requests_toolbelt.adapters.source import SourceAddressAdapter
from requests_toolbelt.utils.dump import dump_all

from gopacs_session import AuthorizationServerError, GopacsSession
from gopacs_session.sandbox import Exchange, Sandbox

FILE = b"<portfolio/>" * 20_000


def encoder() -> MultipartEncoder:
    return MultipartEncoder({"desk": "north", "portfolio": ("portfolio.xml", io.BytesIO(FILE), "text/xml")})


def parts(exchange: Exchange) -> list[bytes]:
    """The parts of the multipart body that the server received."""
    return [part.content for part in MultipartDecoder(exchange.body, exchange.headers["Content-Type"]).parts]


def monitored(progress: list[int]) -> MultipartEncoderMonitor:
    return MultipartEncoderMonitor(encoder(), lambda monitor: progress.append(monitor.bytes_read))


STREAMS: dict[str, Callable[[], Any]] = {
    "MultipartEncoder": encoder,
    "MultipartEncoderMonitor": lambda: monitored([]),
    "StreamingIterator": lambda: StreamingIterator(len(FILE), iter([FILE])),
}


@pytest.mark.parametrize("kind", STREAMS)
def test_a_stream_of_the_toolbelt_is_not_replayed(sandbox: Sandbox, revoked: GopacsSession, kind: str) -> None:
    """These streams can't be rewound: the caller gets the 401, and never is half a body or none sent again."""
    assert revoked.post(f"{sandbox.api_url}/upload", data=STREAMS[kind]()).status_code == 401
    assert len(sandbox.api_requests) == 1


def test_an_upload_made_anew_after_the_401_arrives(sandbox: Sandbox, revoked: GopacsSession) -> None:
    """The 401 has renewed the token already: the caller makes the encoder anew and sends it once more."""
    for status in (401, 200):
        data = encoder()
        answer = revoked.post(f"{sandbox.api_url}/upload", data=data, headers={"Content-Type": data.content_type})
        assert answer.status_code == status
    assert [parts(exchange) for exchange in sandbox.api_requests] == [[b"north", FILE]] * 2
    assert len(sandbox.token_requests) == 2


def test_an_encoder_read_into_memory_is_replayed(sandbox: Sandbox, revoked: GopacsSession) -> None:
    """to_string() makes bytes of it, which the session can send twice."""
    data = encoder()
    headers = {"Content-Type": data.content_type}
    assert revoked.post(f"{sandbox.api_url}/upload", data=data.to_string(), headers=headers).status_code == 200
    assert [exchange.status for exchange in sandbox.api_requests] == [401, 200]
    assert [parts(exchange) for exchange in sandbox.api_requests] == [[b"north", FILE]] * 2


def test_a_monitor_sees_the_upload(sandbox: Sandbox, session: GopacsSession) -> None:
    """With a good token an upload is streamed, and its monitor is told of each block."""
    progress: list[int] = []
    data = monitored(progress)
    headers = {"Content-Type": data.content_type}
    assert session.post(f"{sandbox.api_url}/upload", data=data, headers=headers).status_code == 200
    assert parts(sandbox.api_requests[0]) == [b"north", FILE]
    assert progress == sorted(progress)
    assert (len(progress) > 5, progress[-1]) == (True, len(sandbox.api_requests[0].body))


class BaseUrlGopacsSession(sessions.BaseUrlSession, GopacsSession):
    """A session for one API. BaseUrlSession's own __init__ would pass nothing on."""

    def __init__(self, base_url: str, *args: Any, **options: Any) -> None:
        self.base_url = base_url
        GopacsSession.__init__(self, *args, **options)


def test_a_base_url(sandbox: Sandbox) -> None:
    """Paths are joined to the base; token requests are not, and a mended 401 is."""
    base = f"{sandbox.api_url}/uftp-participants/v3/"
    with BaseUrlGopacsSession(base, sandbox.client_id, sandbox.client_secret, sandbox.environment) as session:
        sandbox.trust(session)
        session.get("participants/DSO")
        sandbox.revoke_tokens()
        session.get("participants/AGR")
    paths = [exchange.path.removeprefix("/uftp-participants/v3/participants/") for exchange in sandbox.api_requests]
    assert paths == ["DSO", "AGR", "AGR"]
    assert [exchange.status for exchange in sandbox.token_requests] == [200, 200]


def test_its_threads_share_a_session(sandbox: Sandbox, session: GopacsSession) -> None:
    """threaded.map with a factory that returns the one session costs one token request for all its threads."""
    jobs = [{"method": "GET", "url": f"{sandbox.api_url}/{number}"} for number in range(20)]
    # Its threads start to work in the middle of their own construction, and a fast answer finds no place to go to.
    sandbox.token_delay = 0.3
    answers, errors = threaded.map(jobs, num_processes=8, session=lambda: session)
    assert [answer.status_code for answer in answers] == [200] * 20
    assert list(errors) == []
    assert sorted(int(exchange.path[1:]) for exchange in sandbox.api_requests) == list(range(20))
    assert len(sandbox.token_requests) == 1


def clients_of(sandbox: Sandbox) -> set[str]:
    """The addresses from which connections to the sandbox are open."""
    port = int(sandbox.api_url.rpartition(":")[2])
    connections = psutil.Process().net_connections("tcp")
    return {c.raddr.ip for c in connections if c.laddr.port == port and c.status == psutil.CONN_ESTABLISHED}


@pytest.mark.skipif(not hasattr(socket, "AF_NETLINK"), reason="only Linux answers on all of 127.0.0.0/8")
def test_a_source_address() -> None:
    """Token and API requests both leave from the address that was mounted."""
    seen: list[tuple[str, set[str]]] = []
    sandbox = Sandbox(on_request=lambda exchange: seen.append((exchange.path, clients_of(sandbox))))
    with sandbox, sandbox.session() as session:
        session.mount(f"{sandbox.api_url}/", SourceAddressAdapter("127.0.0.2"))
        session.verify = sandbox.ca_file
        assert session.get(f"{sandbox.api_url}/participants").status_code == 200
    assert seen == [(sandbox.token_requests[0].path, {"127.0.0.2"}), ("/participants", {"127.0.0.2"})]


def test_keep_alive_probes(sandbox: Sandbox, revoked: GopacsSession) -> None:
    """TCPKeepAliveAdapter carries requests, a mended 401 included; the sockets have the option set."""
    revoked.mount(f"{sandbox.api_url}/", TCPKeepAliveAdapter(idle=30))
    revoked.verify = sandbox.ca_file
    with revoked.get(f"{sandbox.api_url}/participants", stream=True) as answer:
        assert answer.status_code == 200
        assert answer.raw.connection.sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    assert len(sandbox.token_requests) == 2


@pytest.mark.usefixtures("pauses")
def test_a_pinned_certificate(sandbox: Sandbox, session: GopacsSession) -> None:
    """With FingerprintAdapter a server with another certificate is sent neither secret nor token."""
    port = int(sandbox.api_url.rpartition(":")[2])
    pem = ssl.get_server_certificate(("localhost", port), ca_certs=sandbox.ca_file)
    right = hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).hexdigest()
    session.verify = sandbox.ca_file
    session.mount(f"{sandbox.api_url}/", FingerprintAdapter("0" * 64))
    with pytest.raises(AuthorizationServerError, match="Fingerprints did not match"):
        session.get(f"{sandbox.api_url}/participants")
    assert sandbox.token_requests == []
    session.mount(f"{sandbox.api_url}/", FingerprintAdapter(right))
    assert session.get(f"{sandbox.api_url}/participants").status_code == 200


def test_a_dump_shows_replay_and_tokens(sandbox: Sandbox, revoked: GopacsSession) -> None:
    """dump_all shows the refused request without its token and the replay with it, in clear: it is not for logs."""
    refused = str(revoked.access_token)
    dump = dump_all(revoked.get(f"{sandbox.api_url}/participants")).decode()
    assert dump.index("HTTP/1.1 401") < dump.index("HTTP/1.1 200")
    assert dump.index("Bearer ***") < dump.index(f"Bearer {revoked.access_token}")
    assert refused not in dump
    assert sandbox.client_secret not in dump
