"""What a session's connections trust and show, as in requests, and that they share one TLS context."""

from __future__ import annotations

import pickle
import ssl
from collections.abc import Iterator
from dataclasses import replace
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest
import requests
from servers import TOKEN, Authority, RawServer, http, proxying, raw
from support import at_once

from gopacs_session import GopacsSession
from gopacs_session.sandbox import Sandbox


@pytest.fixture
def stranger(tmp_path: Path) -> Authority:
    """Another authority, whom nobody trusts."""
    return Authority(tmp_path)


@pytest.fixture
def server(authority: Authority) -> Iterator[RawServer]:
    # The answer does not say that the server will hang up, and keeps its connection until it is read.
    with authority.server(raw(http(b"{}"))) as server:
        yield server


@pytest.fixture
def session(authority: Authority) -> Iterator[GopacsSession]:
    with GopacsSession("trader", "s3cret") as session:
        session.verify = authority.ca_file
        yield session


def url(server: RawServer) -> str:
    """It lies outside GOPACS, so that requests bear no token."""
    return f"https://localhost:{server.server_address[1]}/"


def context_of(response: requests.Response) -> ssl.SSLContext:
    """That of the connection by which a streamed answer is coming."""
    return response.raw.connection.sock.context  # type: ignore[no-any-return]


def test_connections_share_one_context(
    session: GopacsSession, server: RawServer, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those to one bundle do, and those of a pickle another; with a client certificate each has its own."""
    monkeypatch.setattr("requests.adapters.DEFAULT_CA_BUNDLE_PATH", authority.ca_file)  # which verify=True means
    verify = cycle([True, authority.ca_file])
    answers = at_once(8, lambda: session.get(url(server), stream=True, verify=next(verify)))
    own = [session.get(url(server), stream=True, cert=authority.client_file) for _ in range(2)]
    twin = pickle.loads(pickle.dumps(session))
    again = at_once(2, lambda: twin.get(url(server), stream=True))
    counts = [len({context_of(answer) for answer in some}) for some in (answers, again, [*answers, *again, *own])]
    assert counts == [1, 1, 4]
    for answer in [*answers, *own, *again]:
        answer.close()
    twin.close()


def test_a_connection_changes_nothing_for_others(session: GopacsSession, server: RawServer) -> None:
    """urllib3 sets ALPN for each connection, which another that is being made at the same time would not survive."""
    server.context.set_alpn_protocols(["http/1.1", "as it was"])
    for offered in "http/1.1", "as it was":
        with session.get(url(server), stream=True) as answer:
            assert answer.raw.connection.sock.selected_alpn_protocol() == offered
            ssl.SSLContext.set_alpn_protocols(context_of(answer), ["as it was"])


@pytest.mark.parametrize("kind", ["rewritten in place", "replaced"])
def test_a_bundle_that_changes_on_disk_is_loaded_again(
    session: GopacsSession, server: RawServer, authority: Authority, stranger: Authority, tmp_path: Path, kind: str
) -> None:
    """Who is trusted follows the file, also if it keeps its name, and its size."""
    good, bad = Path(authority.ca_file).read_bytes(), Path(stranger.ca_file).read_bytes()
    size = max(len(good), len(bad))
    bundle = tmp_path / "bundle.pem"
    bundle.write_bytes(bad.ljust(size, b"\n"))
    with pytest.raises(requests.exceptions.SSLError):
        session.get(url(server), verify=str(bundle))
    target = bundle if kind == "rewritten in place" else tmp_path / "new"
    target.write_bytes(good.ljust(size, b"\n"))
    target.replace(bundle)
    assert session.get(url(server), verify=str(bundle)).ok
    bundle.unlink()
    with pytest.raises(OSError, match="invalid path"):
        session.get(url(server), verify=str(bundle))


def test_verification_can_be_switched_off_for_one_call_alone(
    session: GopacsSession, server: RawServer, stranger: Authority
) -> None:
    """What a call without verification connects to is trusted by nobody else."""
    with pytest.warns(requests.packages.urllib3.exceptions.InsecureRequestWarning):  # type: ignore[attr-defined]
        assert session.get(url(server), verify=False).ok
    session.verify = stranger.ca_file
    with pytest.raises(requests.exceptions.SSLError):
        session.get(url(server))


def test_a_client_certificate_is_shown(session: GopacsSession, authority: Authority) -> None:
    """A server that wants one sees that of the call, or of the session, which goes with token requests, too."""
    token = raw(http(TOKEN, "Connection: close"))
    with authority.server(token, client_certificates=True) as server:
        with pytest.raises(requests.RequestException):
            session.get(url(server))
        session.get(url(server), cert=authority.client_file)
        with GopacsSession("trader", "s3cret", server.environment) as own:
            own.verify, own.cert = authority.ca_file, authority.client_file
            own.get(server.environment.token_url)
        shown = [dict(pair[0] for pair in one["subject"])["commonName"] for one in server.client_certificates if one]
    assert shown == ["the client"] * 3


@pytest.mark.parametrize("tls, connects", [(False, 2), (True, 1)], ids=["http", "https"])
def test_a_proxy_is_verified_by_the_same_bundle(
    session: GopacsSession, server: RawServer, authority: Authority, stranger: Authority, tls: bool, connects: int
) -> None:
    """Through a proxy the server is verified, and so is a proxy that is spoken to over TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.ca.issue_cert("127.0.0.1").configure_cert(context)
    with proxying(context if tls else None) as proxy:
        session.proxies = {"https": proxy.url}
        assert session.get(url(server)).ok
        session.verify = stranger.ca_file
        with pytest.raises(requests.exceptions.ConnectionError, match="certificate verify failed"):
            session.get(url(server))
    assert len(proxy.connects) == connects


def test_settings_of_the_adapters_own_hold(session: GopacsSession, server: RawServer) -> None:
    """Whoever gives the session's adapter a context, or a least version of TLS, gets it."""
    session.get_adapter("https://").init_poolmanager(1, 1, ssl_minimum_version=ssl.TLSVersion.TLSv1_3)  # type: ignore[attr-defined]
    with session.get(url(server), stream=True) as answer:
        assert context_of(answer).minimum_version == ssl.TLSVersion.TLSv1_3


BUNDLES = [  # of the call, the session, its environment, and the process's
    ("good", True, "bad", "bad"),
    (None, "good", "bad", None),  # REQUESTS_CA_BUNDLE would go before session.verify, as in requests.
    (None, True, "good", "bad"),
    (True, True, "good", "bad"),
    (None, True, None, "good"),
]


@pytest.mark.parametrize("call, own, environment, process", BUNDLES)
def test_who_names_the_bundle_that_counts(
    sandbox: Sandbox, stranger: Authority, monkeypatch: pytest.MonkeyPatch,
    call: str | bool | None, own: str | bool, environment: str | None, process: str | None,
) -> None:  # fmt: skip
    """A call's verify goes before the session's, that before an environment's, for its hosts, before the process's."""
    path: dict[Any, Any] = {"good": sandbox.ca_file, "bad": stranger.ca_file, None: None, True: True}
    if process:
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", path[process])
    bundled = replace(sandbox.environment, ca_bundle=path[environment])
    with GopacsSession(sandbox.client_id, sandbox.client_secret, bundled) as session:
        session.verify = path[own]
        if call:  # It is no business of a token request's.
            sandbox.answer_next_api_requests(1, 200)
            session.token = {"access_token": "stored"}
        assert session.get(sandbox.api_url, verify=path[call]).ok
        if environment == "good":
            assert session.send(session.prepare_request(requests.Request("GET", sandbox.api_url))).ok
            foreign = sandbox.api_url.replace("localhost", "127.0.0.1")
            for address, verify in (sandbox.api_url, stranger.ca_file), (foreign, None):
                with pytest.raises(requests.exceptions.SSLError):
                    session.get(address, verify=verify)
            with pytest.raises(requests.exceptions.SSLError):
                session.send(session.prepare_request(requests.Request("GET", foreign)))
