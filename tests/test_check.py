"""The diagnosis, against servers and proxies that are as wrong as the real ones."""

from __future__ import annotations

import base64
import json
import math
import socket
import socketserver
import ssl
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import certifi
import pytest
import requests
import trustme
from hypothesis import given
from hypothesis import strategies as st
from servers import Answer, Authority, Proxy, http, proxying, raw, reset

from gopacs_session import ACCEPTANCE, ConfigurationError, Environment
from gopacs_session.cli import route
from gopacs_session.cli.check import diagnose, name_and_roles
from gopacs_session.cli.exit_code import ExitCode
from gopacs_session.cli.step import Step
from gopacs_session.environment_variables import Configuration
from gopacs_session.sandbox import Sandbox

SOURCES = {"client_id": "here", "client_secret": "there", "environment": "elsewhere"}
NOW = datetime.now(timezone.utc)


@pytest.fixture(autouse=True)
def trusted(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", authority.ca_file)


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """A proxy that the environment names, with credentials."""
    with proxying() as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url.replace("//", "//user:p%40ss@"))
        yield proxy


def found(environment: Environment, secret: Any = "s3cret") -> dict[str, Step]:
    """All steps by their names; none of them tells the secret."""
    arguments = {"client_id": "trader", "client_secret": secret, "environment": environment}
    steps = list(diagnose(lambda: Configuration(arguments, SOURCES)))
    assert "s3cret" not in json.dumps([step.report() for step in steps])
    return {step.name: step for step in steps}


def last(environment: Environment, **options: Any) -> Step:
    """The step that ended the diagnosis, which failed; those before it did not."""
    *before, step = found(environment, **options).values()
    assert all(earlier.passed is not False for earlier in before)
    assert step.passed is False
    assert step.code != ExitCode.SUCCESS
    return step


@contextmanager
def serving(authority: Authority, *script: Answer, leaf: trustme.LeafCert | None = None) -> Iterator[Environment]:
    """A server that gives these answers, with a certificate of its own."""
    with authority.server(*script) as server:
        if leaf:
            leaf.configure_cert(server.context)
        yield server.environment


def jwt(claims: object) -> str:
    payload = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    return f"e30.{payload}.signature"


def token(access_token: str = "opaque", expires_in: float = 300) -> Answer:
    return raw(http(json.dumps({"access_token": access_token, "expires_in": expires_in}).encode()))


def dated(date: str) -> Answer:
    """The answer to the first look, with a Date."""
    return raw(http(b"", f"Date: {date}", "Content-Length: 0", status="405 Method Not Allowed"))


class TestConfiguration:
    def test_found(self, sandbox: Sandbox) -> None:
        """The client and the environment are told, and where each setting is from."""
        step = found(sandbox.environment)["configuration"]
        assert step.passed
        assert step.text == "client trader (from here)\nsecret (from there)\nenvironment sandbox (from elsewhere)"

    @pytest.mark.parametrize(
        ("secret", "odd"),
        [("s3cret ", True), ("\u00a0s3cret", True), ("s3c\nret", True), (lambda: " s3cret", True), ("s3 cret", False)],
    )
    def test_odd_secret(self, sandbox: Sandbox, secret: Any, odd: bool) -> None:
        """A secret that was copied with too much is told, and not shown."""
        step = found(sandbox.environment, secret=secret)["configuration"]
        assert step.passed
        assert ("white space" in step.advice) == bool(step.advice) == odd

    def test_incomplete(self) -> None:
        """A configuration that is not complete ends the diagnosis."""

        def configure() -> Configuration:
            raise ConfigurationError("GOPACS_CLIENT_ID is not set.")

        [step] = diagnose(configure)
        assert (step.passed, step.code) == (False, ExitCode.CONFIGURATION)
        assert step.text == "GOPACS_CLIENT_ID is not set."

    def test_port_out_of_range(self) -> None:
        """So does a token URL with a port that cannot be."""
        step = last(Environment("own", "https://localhost:99999/", ("localhost",)))
        assert (step.name, step.code) == ("configuration", ExitCode.CONFIGURATION)


class TestNetwork:
    @pytest.fixture
    def sandbox(self, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Sandbox:
        """A sandbox whose environment names no CA."""
        monkeypatch.setattr(Sandbox, "ca_file", sandbox.ca_file)
        monkeypatch.setattr(Sandbox, "environment", replace(sandbox.environment, ca_bundle=None))
        return sandbox

    @pytest.mark.parametrize(
        ("variables", "source"),
        [
            ([], "certifi, which requests brings"),
            (["CURL_CA_BUNDLE"], "CURL_CA_BUNDLE"),
            (["CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE"], "REQUESTS_CA_BUNDLE"),
            (["CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "GOPACS_CA_BUNDLE"], "GOPACS_CA_BUNDLE"),
        ],
    )
    def test_ca_bundle(
        self, authority: Authority, sandbox: Sandbox, variables: list[str], source: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The CA bundle is named with the variable that chose it, the last of these; that there is no proxy is said."""
        monkeypatch.delenv("REQUESTS_CA_BUNDLE")
        for name in variables:
            monkeypatch.setenv(name, sandbox.ca_file if name == source else authority.ca_file)
        own = sandbox.ca_file if "GOPACS_CA_BUNDLE" in variables else None
        steps = found(replace(sandbox.environment, ca_bundle=own))
        bundle = sandbox.ca_file if variables else certifi.where()
        assert steps["network"].text == f"no proxy\nCA bundle {bundle} ({source})"
        assert steps["TLS"].passed == bool(variables)

    def test_directory(self, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        """A directory of certificates will do."""
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path))
        assert found(sandbox.environment)["network"].passed

    @pytest.mark.parametrize(
        ("content", "words"),
        [(None, "cannot be read: No such file"), (b"", "no certificate"), (b"x", "no certificate")],
    )
    def test_bad_bundle(
        self, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: bytes | None, words: str
    ) -> None:
        """A bundle that is missing or no bundle is told before anything is sent."""
        path = tmp_path / "bundle"
        if content is not None:
            path.write_bytes(content)
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(path))
        step = last(sandbox.environment)
        assert (step.name, step.code) == ("network", ExitCode.CONFIGURATION)
        assert words in step.text
        assert sandbox.token_requests == []

    def test_proxy(self, authority: Authority, proxy: Proxy) -> None:
        """A proxy is named without its credentials; names are its business, and everything else goes through it."""
        with serving(authority, dated("soon"), token()) as environment:
            steps = found(environment)
        assert steps["network"].text.splitlines()[0] == f"proxy {proxy.url}"
        assert steps["name"].passed is None
        assert steps["TLS"].details["issuer"]
        assert steps["client"].passed
        assert [method for method, _ in proxy.connects] == ["CONNECT"] * 2

    @pytest.mark.parametrize(
        ("refusal", "advice"),
        [
            ("407 Proxy Authentication Required", "wants a user and a password"),
            ("403 Forbidden", "blocks this host"),
            ("502 Bad Gateway", "cannot reach this host"),
            ("302 Found", "Check HTTPS_PROXY"),
        ],
    )
    def test_proxy_refuses(self, proxy: Proxy, refusal: str, advice: str) -> None:
        """A proxy that refuses is told as such, with what to check."""
        proxy.refusal = refusal
        step = last(ACCEPTANCE)
        assert (step.name, step.code) == ("TLS", ExitCode.NO_TOKEN)
        assert step.text.startswith(f"auth.acc.gopacs-services.eu:443 through {proxy.url}: ")
        assert refusal in step.text
        assert advice in step.advice

    @pytest.mark.parametrize("scheme", ["http", "https", "socks5h"])
    @pytest.mark.parametrize("answer", [b"", b"Go away.\r\n"])
    def test_no_proxy_at_all(self, scheme: str, answer: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
        """Whatever fails between here and the server, the words name the proxy."""

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                self.request.sendall(answer)

        with socketserver.TCPServer(("127.0.0.1", 0), Handler) as server:
            thread = threading.Thread(target=server.serve_forever, args=[0.01])
            thread.start()
            url = f"{scheme}://127.0.0.1:{server.server_address[1]}"
            monkeypatch.setenv("HTTPS_PROXY", url)
            step = last(ACCEPTANCE)
            server.shutdown()
            thread.join()
        assert step.text.startswith(f"auth.acc.gopacs-services.eu:443 through {url}: ")

    def test_no_socks(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Where PySocks is missing, the advice says what to install."""

        def missing(*_: Any, **__: Any) -> None:  # What requests puts in its place.
            raise requests.exceptions.InvalidSchema("Missing dependencies for SOCKS support.")

        monkeypatch.setattr("requests.adapters.SOCKSProxyManager", missing)
        monkeypatch.setenv("HTTPS_PROXY", "socks5h://localhost:1080")
        assert last(ACCEPTANCE).advice == "pip install 'requests[socks]'"

    @pytest.mark.parametrize(("scheme", "here"), [("socks4", True), ("socks5", True), ("socks4a", False)])
    def test_who_resolves(self, scheme: str, here: bool, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
        """Some kinds of proxy are given names, others addresses that this machine has looked up, which are told."""
        monkeypatch.setenv("HTTPS_PROXY", f"{scheme}://localhost:1")
        step = found(sandbox.environment)["name"]
        assert (step.passed, "127.0.0.1" in step.text) == ((True, True) if here else (None, False))

    @pytest.mark.parametrize("host", ["nowhere.invalid", f"{'x' * 64}.invalid"])
    def test_unknown_name(self, host: str) -> None:
        """A name that does not resolve ends the diagnosis."""
        step = last(Environment("own", f"https://{host}/", ("localhost",)))
        assert (step.name, step.code) == ("name", ExitCode.NO_TOKEN)
        assert step.text.startswith(f"{host}: ")


class TestTls:
    def test_certificate(self, authority: Authority) -> None:
        """Protocol, issuer and expiry are told; the look sends no credentials."""
        expires = NOW + timedelta(days=10, hours=1)
        leaf = authority.ca.issue_cert("localhost", not_before=NOW - timedelta(days=1), not_after=expires)
        with authority.server(dated("soon"), token()) as server:
            leaf.configure_cert(server.context)
            step = found(server.environment)["TLS"]
            assert b"authorization" not in server.requests[0].lower()
            assert server.requests[0].startswith(b"GET ")
        assert step.passed
        assert step.text.startswith("TLSv1.3, certificate by trustme v")
        assert step.text.endswith(f", until {expires:%Y-%m-%d} (10 days)")

    def test_untrusted(self, authority: Authority) -> None:
        """A certificate of an unknown issuer, such as a company's proxy, is told with that issuer."""
        leaf = trustme.CA(organization_name="Inspection Inc").issue_cert("localhost")
        with serving(authority, token(), leaf=leaf) as environment:
            step = last(environment)
        assert (step.name, step.code) == ("TLS", ExitCode.NO_TOKEN)
        assert step.text == "unable to get local issuer certificate\ncertificate by Inspection Inc"
        assert step.advice == (
            f"REQUESTS_CA_BUNDLE names {authority.ca_file}, which lacks that CA: add it if it is your company's."
        )

    def test_untrusted_by_default(self, authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
        """Where no bundle is named, the advice says how to; without cryptography the words are OpenSSL's."""
        monkeypatch.delenv("REQUESTS_CA_BUNDLE")
        monkeypatch.setitem(sys.modules, "cryptography", None)
        with serving(authority, token()) as environment:
            step = last(environment)
        assert "GOPACS_CA_BUNDLE" in step.advice
        assert step.text == "unable to get local issuer certificate"

    def test_untrusted_through_a_proxy(self, authority: Authority, proxy: Proxy) -> None:
        """The same through a proxy, which gets its credentials for the one trusted look only, also if it wants them."""
        leaf = trustme.CA(organization_name="Inspection Inc").issue_cert("localhost")
        with serving(authority, token(), leaf=leaf) as environment:
            assert last(environment).details == {"issuer": "Inspection Inc"}
            proxy.wants_credentials = True
            assert last(environment).details == {}
        assert [credentials is None for credentials in proxy.authorizations] == [False, True] * 2

    def test_through_a_trusted_proxy(self, authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
        """Behind a proxy that is spoken to over TLS the server is looked at; nobody untrusted is asked for more."""
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.ca.issue_cert("127.0.0.1").configure_cert(tls)
        with proxying(tls) as proxy:
            monkeypatch.setenv("HTTPS_PROXY", proxy.url)
            with serving(authority, dated("soon"), token()) as environment:
                assert found(environment)["TLS"].details["issuer"]
            with serving(authority, token(), leaf=trustme.CA().issue_cert("localhost")) as environment:
                assert last(environment).text == "unable to get local issuer certificate"

    def test_untrusted_proxy(self, authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
        """An untrusted certificate of the proxy itself is told as such, and nothing is sent to it, ever."""
        with authority.server(reset) as server:
            trustme.CA(organization_name="Evil Inc").issue_cert("localhost").configure_cert(server.context)
            url = f"https://localhost:{server.server_address[1]}"
            monkeypatch.setenv("HTTPS_PROXY", url.replace("//", "//user:s3cret@"))
            step = last(ACCEPTANCE)
            assert server.requests == []
        assert step.text == f"the proxy {url}: unable to get local issuer certificate\ncertificate by Evil Inc"

    def test_another_proxy(self, authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
        """A proxy whose certificate is another host's is told as a matter of its own URL."""
        with authority.server(reset) as server:
            authority.ca.issue_cert("other.example").configure_cert(server.context)
            monkeypatch.setenv("HTTPS_PROXY", f"https://localhost:{server.server_address[1]}")
            assert "check HTTPS_PROXY" in last(ACCEPTANCE).advice

    def test_connection_is_closed(self, authority: Authority) -> None:
        """A server that closes the connection is trusted all the same, though its certificate can't be read."""
        with serving(authority, raw(http(b"", "Connection: close", status="405 No")), token()) as environment:
            assert found(environment)["TLS"].text == "the certificate is trusted"

    def test_expired(self, authority: Authority) -> None:
        """A certificate that expired is told as such; the clock may be the cause."""
        leaf = authority.ca.issue_cert("localhost", not_before=NOW - timedelta(2), not_after=NOW - timedelta(1))
        with serving(authority, token(), leaf=leaf) as environment:
            step = last(environment)
        assert step.text.startswith("certificate has expired\n")
        assert "clock" in step.advice

    def test_another_host(self, authority: Authority) -> None:
        """A certificate of another host is told as such."""
        with serving(authority, token(), leaf=authority.ca.issue_cert("other.example")) as environment:
            step = last(environment)
        assert "other.example" in step.text or "mismatch" in step.text
        assert step.advice.startswith("Another server answers here")

    def test_nobody_listens(self) -> None:
        """A port where nobody listens is told with the system's reason."""
        with socket.socket() as bound:
            bound.bind(("localhost", 0))
            where = f"localhost:{bound.getsockname()[1]}"
            step = last(Environment("own", f"https://{where}/", ("localhost",)))
        assert (step.name, step.text, step.code) == ("TLS", f"{where}: Connection refused", ExitCode.NO_TOKEN)

    def test_no_tls(self) -> None:
        """A server that does not speak TLS is told as such."""
        with socket.create_server(("localhost", 0)) as listener:
            listener.settimeout(10)
            url = f"https://localhost:{listener.getsockname()[1]}/"

            def answer() -> None:
                with listener.accept()[0] as connection:
                    connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

            thread = threading.Thread(target=answer)
            thread.start()
            assert last(Environment("own", url, ("localhost",))).name == "TLS"
            thread.join()

    def test_silence(self, authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
        """A server that does not answer in time is told as such."""
        monkeypatch.setattr(route, "TIMEOUT", 0.1)
        with socket.create_server(("localhost", 0)) as listener:
            url = f"https://localhost:{listener.getsockname()[1]}/"
            step = last(Environment("own", url, ("localhost",)))
        assert (step.name, "timed out" in step.text) == ("TLS", True)


class TestClock:
    def step(self, authority: Authority, date: str) -> Step:
        with serving(authority, dated(date), token()) as environment:
            steps = found(environment)
        assert steps["client"].passed  # A clock that is off does not end the diagnosis.
        return steps["clock"]

    def test_agrees(self, authority: Authority) -> None:
        """A Date of now agrees."""
        step = self.step(authority, format_datetime(datetime.now(timezone.utc), usegmt=True))
        assert (step.passed, step.text) == (True, "agrees with the server's")

    @pytest.mark.parametrize(("hours", "words"), [(1, "behind"), (-1, "ahead of")])
    def test_off(self, authority: Authority, hours: int, words: str) -> None:
        """A clock that is off is told with the difference and the direction."""
        step = self.step(authority, format_datetime(datetime.now(timezone.utc) + timedelta(hours=hours), usegmt=True))
        assert (step.passed, step.code) == (False, ExitCode.CONFIGURATION)
        assert step.details["seconds_ahead"] == pytest.approx(-3600 * hours, abs=60)
        assert words in step.text
        assert "NTP" in step.advice

    @pytest.mark.parametrize("date", ["", "soon", "Mon, 99 Foo 2026 00:00:00 GMT"])
    def test_nonsense(self, authority: Authority, date: str) -> None:
        """A Date that is none is as good as no Date, as from Keycloak: there is nothing to compare with."""
        step = self.step(authority, date)
        assert (step.passed, step.text) == (None, "the server sends no Date to compare it with")


class TestCredentials:
    def test_refused(self, sandbox: Sandbox) -> None:
        """Refused credentials are told with the server's words."""
        step = last(sandbox.environment)
        assert (step.name, step.code) == ("credentials", ExitCode.CREDENTIALS_REFUSED)
        assert step.text.endswith("\ninvalid_client: Invalid client or Invalid client credentials")
        assert step.details["status"] == 401

    def test_refused_by_gopacs(self, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
        """With GOPACS itself, whichever CA is trusted, the advice says where in its UI to look."""
        monkeypatch.setattr("gopacs_session.cli.check.PRESETS", (replace(sandbox.environment, ca_bundle=None),))
        step = last(replace(sandbox.environment, ca_bundle=sandbox.ca_file))
        assert "Organisations > API Clients" in step.advice
        assert "sandbox" in step.advice

    def test_down(self, sandbox: Sandbox, pauses: list[float]) -> None:
        """A server that is down may be up again later."""
        sandbox.answer_next_token_requests(4, 503)
        step = last(sandbox.environment)
        assert (step.name, step.code) == ("credentials", ExitCode.NO_TOKEN)
        assert "try again" in step.advice

    def test_wrong_path(self, sandbox: Sandbox) -> None:
        """A wrong path at the right server is no question of credentials."""
        step = last(replace(sandbox.environment, token_url=f"{sandbox.api_url}/realms/other"))
        assert (step.name, step.code) == ("credentials", ExitCode.NO_TOKEN)
        assert "GOPACS_TOKEN_URL" in step.advice

    @pytest.mark.parametrize(
        ("body", "advice"),
        [
            ({"error": "access_denied"}, "The server refuses this client"),
            ({}, "Check that GOPACS_TOKEN_URL is a token"),
        ],
    )
    def test_refused_as_such(self, sandbox: Sandbox, body: object, advice: str) -> None:
        """An answer with an error in JSON shows that it is a token endpoint: then the advice is about the client."""
        sandbox.answer_next_token_requests(math.inf, 403, body=body)
        step = last(sandbox.environment)
        assert (step.name, step.code) == ("credentials", ExitCode.NO_TOKEN)
        assert step.advice.startswith(advice)

    def test_no_secret(self, sandbox: Sandbox) -> None:
        """A secret that cannot be read any more is told."""

        def secret() -> str:
            raise FileNotFoundError

        steps = found(sandbox.environment, secret=secret)
        assert steps["configuration"].advice == steps["credentials"].advice == ""
        assert "FileNotFoundError" in steps["credentials"].text


class TestToken:
    def test_opaque(self, authority: Authority) -> None:
        """The token's life is told in seconds; an opaque one is fine."""
        with serving(authority, dated(""), token(expires_in=90)) as environment:
            steps = found(environment)
        assert (steps["token"].text, steps["token"].details) == ("lives 90 s", {"expires_in": 90})
        assert steps["client"].text == "the token is opaque: it tells neither name nor roles"
        assert steps["client"].passed

    @pytest.mark.parametrize(
        ("claims", "text"),
        [
            ({"azp": "trader", "client_id": "x"}, "trader, without any role"),
            ({"client_id": "trader", "preferred_username": "x"}, "trader, without any role"),
            ({"preferred_username": "service-account-trader"}, "service-account-trader, without any role"),
            ({"azp": "trader", "realm_access": {"roles": ["b", "a"]}}, "trader, with roles a, b"),
            ({"azp": "x\n\x1b[2J", "realm_access": {"roles": ["a\nb"]}}, "x??[2J, with roles a?b"),
            (
                {"azp": "trader", "realm_access": {"roles": ["z"]}, "resource_access": {"uftp": {"roles": ["a", "b"]}}},
                "trader, with roles uftp:a, uftp:b, z",
            ),
        ],
    )
    def test_name_and_roles(self, authority: Authority, claims: object, text: str) -> None:
        """A JWT tells the client's name, and its roles in the realm and at other clients."""
        with serving(authority, dated(""), token(jwt(claims))) as environment:
            assert found(environment)["client"].text == text

    @pytest.mark.parametrize(
        ("claims", "name"),
        [
            ({"azp": "trader", "realm_access": None, "resource_access": []}, "trader"),
            ({"azp": "trader", "realm_access": {"roles": "admin"}, "resource_access": {"a": 1, "b": {}}}, "trader"),
            ({"azp": "trader", "realm_access": {"roles": [1, None, {}]}}, "trader"),
            *((claims, None) for claims in (None, [], "x", 1, {}, {"azp": 1, "client_id": None})),
        ],
    )
    def test_odd_claims(self, claims: object, name: str | None) -> None:
        """Roles in any other shape are none; claims without a name tell nothing."""
        assert name_and_roles(jwt(claims)) == (name, [])

    @given(st.text())
    def test_any_token(self, text: str) -> None:
        """Whatever the token is, reading it does no harm."""
        name_and_roles(text)
        name_and_roles(f"a.{text}.b")
