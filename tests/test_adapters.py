"""What a session's connections trust and show, beside those of plain requests, and that they share one TLS context."""

from __future__ import annotations

import copy
import gc
import hashlib
import os
import pickle
import re
import shutil
import ssl
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from requests.adapters import HTTPAdapter
from servers import Authority, Proxy, RawServer, http, proxying, raw
from support import at_once, exit_status, forked, needs_fork
from urllib3.connection import HTTPSConnection
from urllib3.connectionpool import HTTPSConnectionPool
from urllib3.poolmanager import ProxyManager
from urllib3.util import ssl_

from gopacs_session import GopacsSession
from gopacs_session.sandbox import Sandbox

OK = raw(http(b"{}", "Content-Length: 2", "Connection: close"))
UNANNOUNCED = raw(http(b"{}"))


@pytest.fixture
def stranger(tmp_path: Path) -> Authority:
    """Another authority, whom nobody trusts."""
    return Authority(tmp_path)


@pytest.fixture
def server(authority: Authority) -> Iterator[RawServer]:
    """It hangs up after each answer: each request needs a new connection, by an object that the pool has kept."""
    with authority.server(OK) as server:
        yield server


@pytest.fixture
def streaming(authority: Authority) -> Iterator[RawServer]:
    """It does not say that it will hang up, so that an answer has its connection until it has been read."""
    with authority.server(UNANNOUNCED) as server:
        yield server


@pytest.fixture
def session() -> Iterator[GopacsSession]:
    with GopacsSession("trader", "s3cret") as session:
        yield session


@pytest.fixture
def trusting(session: GopacsSession, authority: Authority) -> GopacsSession:
    """A session that trusts the authority."""
    session.verify = authority.ca_file
    return session


def url(server: RawServer) -> str:
    """It lies outside GOPACS, so that requests bear no token."""
    return f"https://localhost:{server.server_address[1]}/"


def context_of(response: requests.Response) -> ssl.SSLContext:
    """That of the connection by which a streamed answer is coming."""
    return response.raw.connection.sock.context  # type: ignore[no-any-return]


def contexts_in_memory() -> int:
    gc.collect()
    return sum(isinstance(thing, ssl.SSLContext) for thing in gc.get_objects())


# -- what is trusted ---------------------------------------------------------------------------------------------------


def directory_of(authority: Authority, tmp_path: Path) -> str:
    openssl = shutil.which("openssl") or pytest.skip("needs openssl to name the file")
    command = [openssl, "x509", "-noout", "-hash", "-in", authority.ca_file]
    name = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    directory = tmp_path / "trusted"
    directory.mkdir()
    shutil.copy(authority.ca_file, directory / f"{name}.0")
    return str(directory)


@pytest.mark.parametrize("kind", ["file", "Path", "directory"])
@pytest.mark.parametrize("where", ["call", "session"])
def test_verify_names_who_is_trusted(
    session: GopacsSession, server: RawServer, authority: Authority, tmp_path: Path, kind: str, where: str
) -> None:
    """A file, a Path or a directory of CA certificates, for a call or the session; without it nothing is sent."""
    verify: Any = Path(authority.ca_file) if kind == "Path" else authority.ca_file
    if kind == "directory":
        verify = directory_of(authority, tmp_path)
    with pytest.raises(requests.exceptions.SSLError):
        session.get(url(server))
    session.verify = verify if where == "session" else True
    options = {"verify": verify} if where == "call" else {}
    assert session.get(url(server), **options).status_code == 200
    assert len(server.requests) == 1


def test_true_means_the_bundle_of_requests(
    session: GopacsSession, server: RawServer, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """verify=True trusts what requests trusts when nobody says otherwise."""
    monkeypatch.setattr("requests.adapters.DEFAULT_CA_BUNDLE_PATH", authority.ca_file)
    assert [session.get(url(server), verify=True).status_code for _ in range(2)] == [200, 200]


@pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_a_variable_holds_from_the_next_request_on(
    session: GopacsSession,
    server: RawServer,
    authority: Authority,
    stranger: Authority,
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
) -> None:
    """The environment's bundle may be named, changed and taken away while the session lives."""
    monkeypatch.setenv(variable, authority.ca_file)
    assert session.get(url(server)).status_code == 200
    monkeypatch.setenv(variable, stranger.ca_file)
    with pytest.raises(requests.exceptions.SSLError):
        session.get(url(server))
    with stranger.server(OK) as other:
        assert session.get(url(other)).status_code == 200
    monkeypatch.delenv(variable)
    with pytest.raises(requests.exceptions.SSLError):
        session.get(url(server))


def test_a_bundle_that_is_replaced_on_disk_holds_from_the_next_connection_on(
    session: GopacsSession, server: RawServer, authority: Authority, stranger: Authority, tmp_path: Path
) -> None:
    """Whether another file takes its place, or it is written anew, or it is gone for a while."""
    bundle = tmp_path / "bundle.pem"
    session.verify = str(bundle)
    shutil.copy(authority.ca_file, bundle)
    assert session.get(url(server)).status_code == 200
    shutil.copy(stranger.ca_file, tmp_path / "new.pem")
    os.replace(tmp_path / "new.pem", bundle)
    with pytest.raises(requests.exceptions.SSLError):
        session.get(url(server))
    bundle.write_text(Path(authority.ca_file).read_text(encoding="ascii") + "\n", encoding="ascii")
    assert session.get(url(server)).status_code == 200
    bundle.unlink()
    with pytest.raises(OSError, match=r"bundle\.pem"):
        session.get(url(server))


def error_of(session: requests.Session, url: str, **options: Any) -> tuple[type, str]:
    with pytest.raises(Exception) as raised:  # noqa: PT011 - it is compared with another
        session.get(url, **options)
    # urllib3 shows a connection's module and address until 2.3.
    return raised.type, re.sub(r"<[\w.]+\.(\w+) object at \w+>", r"<\1>", str(raised.value))


@pytest.mark.parametrize("kind", ["missing", "empty", "garbage", "empty directory", "key", "stranger"])
def test_a_bundle_that_does_not_help_is_the_same_error_as_from_requests(
    session: GopacsSession, server: RawServer, authority: Authority, stranger: Authority, tmp_path: Path, kind: str
) -> None:
    """The same type and the same words, also when it is met again."""
    (tmp_path / "empty").touch()
    (tmp_path / "garbage").write_text("-----BEGIN CERTIFICATE-----\nnone\n-----END CERTIFICATE-----\n")
    (tmp_path / "empty directory").mkdir()
    authority.ca.issue_cert("localhost").private_key_pem.write_to_path(tmp_path / "key")
    verify = stranger.ca_file if kind == "stranger" else str(tmp_path / kind)
    with requests.Session() as plain:
        expected = error_of(plain, url(server), verify=verify)
    assert [error_of(session, url(server), verify=verify) for _ in range(2)] == [expected, expected]
    assert not server.requests


def test_an_unreachable_server_is_the_same_error_as_from_requests(session: GopacsSession) -> None:
    """The message names urllib3's classes, as people look for them in logs."""
    nowhere = "https://127.0.0.1:1/"
    with requests.Session() as plain:
        assert error_of(session, nowhere) == error_of(plain, nowhere)


@pytest.mark.filterwarnings("ignore::urllib3.exceptions.InsecureRequestWarning")
def test_verify_of_false_weakens_no_other_request(session: GopacsSession, server: RawServer) -> None:
    """Neither before, nor after, nor at the same time in another thread."""
    verifies = [True, False] * 16
    turns = iter(verifies)

    def call() -> tuple[bool, bool]:
        verify = next(turns)
        try:
            return verify, session.get(url(server), verify=verify).ok
        except requests.exceptions.SSLError:
            return verify, False

    answers = [call(), call(), *at_once(len(verifies) - 4, call), call(), call()]
    assert all(came != verify for verify, came in answers)


# -- what is shown -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("alone", [True, False], ids=["alone", "with its key"])
def test_a_client_certificate_is_shown_by_its_own_requests_only(
    trusting: GopacsSession, authority: Authority, tmp_path: Path, alone: bool
) -> None:
    """A connection without cert= shows none, before and after one that did, and in other threads."""
    issued = authority.ca.issue_cert("client@example.org", common_name="the client")
    issued.cert_chain_pems[0].write_to_path(tmp_path / "client.crt")
    issued.private_key_pem.write_to_path(tmp_path / "client.key")
    cert = authority.client_file if alone else (str(tmp_path / "client.crt"), str(tmp_path / "client.key"))
    with authority.server(OK, client_certificates=True) as server:
        turns = iter([None, cert] * 12)

        def call() -> tuple[bool, bool]:
            shown = next(turns)
            try:
                return shown is not None, trusting.get(url(server), cert=shown).ok
            except requests.ConnectionError:
                return shown is not None, False

        answers = [call(), call(), *at_once(20, call), call(), call()]
    assert all(came == shown for shown, came in answers)
    assert len(server.client_certificates) == 12


# -- what is shared, and what is not -----------------------------------------------------------------------------------


def test_a_cold_burst_makes_one_context(sandbox: Sandbox) -> None:
    """All connections of 64 threads that set off together share it, the one to the token endpoint included."""
    with sandbox.session() as session:
        before = contexts_in_memory()
        answers = at_once(64, lambda: session.get(f"{sandbox.api_url}/participants", stream=True))
        assert {answer.status_code for answer in answers} == {200}
        assert len({id(answer.raw.connection.sock) for answer in answers}) == 64
        assert len({id(context_of(answer)) for answer in answers}) == 1
        assert contexts_in_memory() <= before + 1
        for answer in answers:
            answer.close()


def test_sessions_that_never_connect_make_none() -> None:
    """Nor do their copies."""
    before = contexts_in_memory()
    sessions = [GopacsSession("trader", "s3cret") for _ in range(20)]
    sessions += [duplicate(session) for session in sessions for duplicate in (copy.copy, copy.deepcopy)]
    assert contexts_in_memory() <= before


def test_a_new_file_for_each_request_does_not_fill_the_memory(
    session: GopacsSession, server: RawServer, authority: Authority, tmp_path: Path
) -> None:
    """Of the bundles that a session has met, it keeps the last few."""
    before = contexts_in_memory()
    for number in range(40):
        bundle = shutil.copy(authority.ca_file, str(tmp_path / f"{number}.pem"))
        assert session.get(url(server), verify=bundle).status_code == 200
    assert contexts_in_memory() <= before + 20  # With those of connections in pools, of which requests keeps ten.


def test_a_connection_changes_nothing_for_others(trusting: GopacsSession, streaming: RawServer) -> None:
    """urllib3 sets ALPN for each connection, which another that is being made at the same time would not survive."""
    streaming.context.set_alpn_protocols(["http/1.1", "as it was"])
    for offered in ("http/1.1", "as it was"):
        with trusting.get(url(streaming), stream=True) as answer:
            assert answer.raw.connection.sock.selected_alpn_protocol() == offered
            ssl.SSLContext.set_alpn_protocols(context_of(answer), ["as it was"])


@pytest.mark.parametrize(
    "duplicate", [lambda session: pickle.loads(pickle.dumps(session)), copy.deepcopy], ids=["pickle", "deepcopy"]
)
def test_a_copy_has_a_context_of_its_own(
    trusting: GopacsSession, streaming: RawServer, duplicate: Callable[[Any], Any]
) -> None:
    """What is done to that of the original does not reach it."""
    with (
        trusting.get(url(streaming), stream=True) as one,
        duplicate(trusting).get(url(streaming), stream=True) as other,
    ):
        assert context_of(one) is not context_of(other)


@needs_fork
def test_a_forked_child_has_a_context_of_its_own(trusting: GopacsSession, streaming: RawServer) -> None:
    """The parent's may be locked by a thread that the child does not have."""
    with trusting.get(url(streaming), stream=True) as answer:

        def has_its_own() -> bool:
            with trusting.get(url(streaming), stream=True) as another:
                return context_of(another) is not context_of(answer)

        assert exit_status(forked(has_its_own)) == 0


@pytest.mark.parametrize("mounted", [True, False], ids=["adapter of his own", "the session's adapter"])
def test_an_ssl_context_of_the_users_own_is_used(
    session: GopacsSession, streaming: RawServer, authority: Authority, mounted: bool
) -> None:
    """Whichever adapter it was given to."""
    own = ssl.create_default_context(cafile=authority.ca_file)
    adapter: Any = HTTPAdapter() if mounted else session.get_adapter("https://localhost/")
    adapter.init_poolmanager(2, 2, ssl_context=own)
    session.mount("https://localhost", adapter)
    with session.get(url(streaming), stream=True) as answer:
        assert context_of(answer) is own


@pytest.mark.parametrize("name, value", [("minimum_version", "TLSv1_3"), ("maximum_version", "TLSv1_2")])
def test_a_tls_version_of_the_adapter_holds(
    trusting: GopacsSession, streaming: RawServer, name: str, value: str
) -> None:
    """As in requests, it is that of its connections."""
    adapter: Any = trusting.get_adapter("https://localhost/")
    adapter.init_poolmanager(2, 2, **{f"ssl_{name}": ssl.TLSVersion[value]})
    with trusting.get(url(streaming), stream=True) as answer:
        assert getattr(context_of(answer), name) == ssl.TLSVersion[value]


@pytest.mark.parametrize("name, value", [("assert_hostname", "localhost"), ("assert_fingerprint", None)])
def test_another_check_of_the_adapter_changes_the_shared_context_for_nobody(
    trusting: GopacsSession, streaming: RawServer, name: str, value: str | None
) -> None:
    """urllib3 has OpenSSL check no host name where it compares the name or a fingerprint itself."""
    adapter: Any = trusting.get_adapter("https://localhost/")
    der = ssl.PEM_cert_to_DER_cert(ssl.get_server_certificate(streaming.server_address[:2]))
    pool_settings = adapter.poolmanager.connection_pool_kw
    pool_settings[name] = value or hashlib.sha256(der).hexdigest()
    with trusting.get(url(streaming), stream=True) as answer:
        assert not context_of(answer).check_hostname
    del pool_settings[name]
    with trusting.get(url(streaming), stream=True) as answer:
        assert context_of(answer).check_hostname


class Recorded(HTTPSConnection):
    """As vcrpy has one."""


@pytest.mark.parametrize("everywhere", [True, False], ids=["in every pool", "in one"])
def test_another_class_of_connections_is_used(
    trusting: GopacsSession,
    streaming: RawServer,
    authority: Authority,
    monkeypatch: pytest.MonkeyPatch,
    everywhere: bool,
) -> None:
    """vcrpy and others put theirs into urllib3's pools, also into those that are there already."""
    adapter: Any = trusting.get_adapter(url(streaming))
    pool = adapter.poolmanager.connection_from_url(
        url(streaming), {"cert_reqs": "CERT_REQUIRED", "ca_certs": authority.ca_file}
    )
    monkeypatch.setattr(HTTPSConnectionPool if everywhere else pool, "ConnectionCls", Recorded)
    monkeypatch.setattr("urllib3.connection.HTTPSConnection", Recorded)
    with trusting.get(url(streaming), stream=True) as answer:
        assert type(answer.raw.connection) is Recorded


class Truststore(ssl.SSLContext):
    """As truststore has one."""


class PyOpenSSL:
    """As pyOpenSSL's: no SSLContext of Python's, and not to be changed once a connection was made with it."""

    def __init__(self, protocol: int) -> None:
        vars(self).update(context=ssl.SSLContext(protocol), used=False)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.context, name)

    def __setattr__(self, name: str, value: Any) -> None:
        assert not self.used
        setattr(self.context, name, value)

    def wrap_socket(self, *args: Any, **options: Any) -> ssl.SSLSocket:
        vars(self).update(used=True)
        return self.context.wrap_socket(*args, **options)  # type: ignore[no-any-return]


@pytest.mark.parametrize("kind", [Truststore, PyOpenSSL])
def test_another_kind_of_context_in_urllib3_is_used_from_then_on(
    trusting: GopacsSession, streaming: RawServer, monkeypatch: pytest.MonkeyPatch, kind: type
) -> None:
    """truststore and pyOpenSSL put theirs there; and it is as before when they take it out again."""

    def kinds() -> list[type]:
        with trusting.get(url(streaming), stream=True) as one, trusting.get(url(streaming), stream=True) as other:
            return [type(context_of(one)), type(context_of(other))]

    for used in (kind, ssl.SSLContext, kind):
        monkeypatch.setattr(ssl_, "SSLContext", used)
        assert kinds() == [ssl.SSLContext if used is PyOpenSSL else used] * 2


# -- through a proxy ---------------------------------------------------------------------------------------------------


@pytest.fixture(params=["http", "https"])
def proxy(request: pytest.FixtureRequest, authority: Authority) -> Iterator[Proxy]:
    context = None
    if request.param == "https":
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.ca.issue_cert("127.0.0.1").configure_cert(context)
    with proxying(context) as proxy:
        yield proxy


def test_a_proxy_leads_to_the_same_ends(
    session: GopacsSession, server: RawServer, proxy: Proxy, authority: Authority, stranger: Authority
) -> None:
    """verify= holds for the server behind it, and for one that is spoken to over TLS, as in requests."""
    session.proxies = {"https": proxy.url}
    for verify, trusted in [(authority.ca_file, True), (stranger.ca_file, False), (authority.ca_file, True)]:
        if trusted:
            assert session.get(url(server), verify=verify).status_code == 200
            continue
        with requests.Session() as plain, pytest.raises(requests.ConnectionError) as expected:
            plain.get(url(server), verify=verify, proxies=session.proxies)
        with pytest.raises(expected.type):
            session.get(url(server), verify=verify)
    assert len(server.requests) == 2


def test_connections_through_a_proxy_share_the_context(trusting: GopacsSession, streaming: RawServer) -> None:
    """With those that go directly, too."""
    with proxying() as proxy, trusting.get(url(streaming), stream=True) as direct:
        trusting.proxies = {"https": proxy.url}
        with trusting.get(url(streaming), stream=True) as one, trusting.get(url(streaming), stream=True) as other:
            assert context_of(one) is context_of(other) is context_of(direct)


class OwnManager(ProxyManager):
    """As urllib3's for SOCKS, which brings pools of its own."""


def test_another_kind_of_proxy_manager_stays_as_it_is(trusting: GopacsSession, streaming: RawServer) -> None:
    """Its connections are those that it makes."""
    adapter: Any = trusting.get_adapter("https://localhost/")
    with proxying() as proxy, trusting.get(url(streaming), stream=True) as direct:
        adapter.proxy_manager[proxy.url] = OwnManager(proxy.url)
        trusting.proxies = {"https": proxy.url}
        with trusting.get(url(streaming), stream=True) as answer:
            assert context_of(answer) is not context_of(direct)
            assert proxy.connects
