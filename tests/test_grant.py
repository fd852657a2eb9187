"""The client credentials grant: what is sent for a token, how often, and what becomes of each answer."""

from __future__ import annotations

import copy
import errno
import functools
import gzip
import io
import json
import os
import pickle
import random
import re
import socket
import threading
import time
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from itertools import chain, repeat
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
import requests
import requests_mock
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from requests.adapters import HTTPAdapter
from servers import TOKEN, Answer, Authority, Proxy, RawServer, chunked, http, proxying, raw, reset
from support import Offline, Recording
from urllib3 import HTTPResponse

from gopacs_session import (
    AuthorizationServerError,
    Environment,
    GopacsSession,
    InvalidClientError,
    TokenRequestError,
)
from gopacs_session.sandbox import Sandbox

SECRETS = ["+/%&= ü€", "%2B%20", "a+b c", " padded ", '"quoted"\\', "a;b#c?d&e=f", "\U0001f511\u05d0", "x" * 5000]
TRANSIENT = [408, 425, 429, 500, 502, 503, 504, 520, 529, 599]
GOOD = {"access_token": "abc", "expires_in": 300, "token_type": "Bearer"}


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    with proxying() as proxy:
        yield proxy


def form(sandbox: Sandbox) -> dict[str, list[str]]:
    """The fields of the last token request."""
    return parse_qs(sandbox.token_requests[-1].body.decode("ascii"), keep_blank_values=True, strict_parsing=True)


def client_of(server: RawServer, authority: Authority, **options: Any) -> GopacsSession:
    session = GopacsSession("client", "the-secret", server.environment, **options)
    session.verify = authority.ca_file
    return session


def asked_in_vain(
    authority: Authority, answer: Answer, kind: type[TokenRequestError] = TokenRequestError, **options: Any
) -> RawServer:
    """The server that gave this answer to a token request, which ended in an error of this kind."""
    with authority.server(answer) as server, client_of(server, authority, **options) as session, pytest.raises(kind):
        session.fetch_token()
    return server


# -- what is sent ------------------------------------------------------------------------------------------------------


def test_a_token_costs_one_form_post(sandbox: Sandbox, session: GopacsSession) -> None:
    """The token request is one POST of a form, with the credentials in its body, that asks for JSON, unstored."""
    session.get(f"{sandbox.api_url}/participants", params={"q": "1"})
    [exchange] = sandbox.token_requests
    assert (exchange.method, exchange.query) == ("POST", "")
    assert sandbox.environment.token_url.endswith(exchange.path)
    assert exchange.headers["Content-Type"] == "application/x-www-form-urlencoded"
    assert exchange.headers["Accept"] == "application/json"
    assert exchange.headers["Accept-Encoding"] == "identity"
    assert exchange.headers["Cache-Control"] == "no-store"
    assert exchange.authorization is None
    assert form(sandbox) == {
        "grant_type": ["client_credentials"],
        "client_id": [sandbox.client_id],
        "client_secret": [sandbox.client_secret],
    }


def test_nothing_of_the_users_goes_with_it(sandbox: Sandbox, session: GopacsSession) -> None:
    """The params, headers, cookies, auth and hooks of session and call, and netrc, stay out of the token request."""
    Path(os.environ["NETRC"]).write_text("machine localhost login users-own password users-own\n")
    session.trust_env = True
    seen: list[str | None] = []

    def hook(response: requests.Response, **_: Any) -> None:
        seen.append(response.request.path_url)

    session.params = {"users-own": "1"}
    session.headers.update({"X-Own": "users-own", "User-Agent": "users-own", "Accept": "text/users-own"})
    session.headers.update({"Authorization": "users-own", "Cookie": "users-own=1", "Content-Type": "users-own"})
    session.cookies.set("users-own", "1")
    session.hooks["response"].append(hook)
    own = {"X-Other": "users-own"}
    session.post(
        f"{sandbox.api_url}/x", b"body", params=own, headers=own, cookies=own, hooks={"response": [hook]}, timeout=9
    )
    session.auth = ("users-own", "users-own")
    session.fetch_token()
    for exchange in sandbox.token_requests:
        assert "users-own" not in f"{dict(exchange.headers)} {exchange.query} {exchange.body!r}"
        assert {"Authorization", "Cookie"}.isdisjoint(exchange.headers)
    assert len(sandbox.token_requests) == 2
    assert set(seen) == {"/x?users-own=1&X-Other=users-own"}


@pytest.mark.parametrize("secret", SECRETS, ids=ascii)
def test_any_secret_arrives_intact(secret: str) -> None:
    """A client id and secret of reserved, padded or non-Latin characters arrive as they are, in UTF-8."""
    with Sandbox(client_id=f"id {secret}", client_secret=secret) as sandbox, sandbox.session() as session:
        assert session.get(sandbox.api_url).status_code == 200
        assert form(sandbox)["client_secret"] == [secret]
        assert form(sandbox)["client_id"] == [f"id {secret}"]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("from_file", [False, True], ids=["string", "callable"])
def test_a_line_break_at_a_secrets_end_is_not_sent(sandbox: Sandbox, end: str, from_file: bool) -> None:
    """A secret as a file has it, with one line break at its end, is accepted."""
    secret = sandbox.client_secret + end
    with sandbox.session(client_secret=(lambda: secret) if from_file else secret) as session:
        assert session.get(sandbox.api_url).status_code == 200


@pytest.mark.parametrize("odd", ["{} ", "\t{}", "{}\n\n", "{0}\n{0}", "\ufeff{} "], ids=ascii)
def test_white_space_in_a_refused_secret_is_told(sandbox: Sandbox, odd: str) -> None:
    """A secret that was not copied as it is looks wrong, and the error says so without showing it."""
    with sandbox.session(client_secret=odd.format(sandbox.client_secret)) as session:
        sandbox.answer_next_token_requests(1, 400, body={"error": "invalid_scope"})
        with pytest.raises(TokenRequestError) as other:
            session.get(sandbox.api_url)
        with pytest.raises(InvalidClientError, match="white space in the secret") as refusal:
            session.get(sandbox.api_url)
        assert sandbox.client_secret not in str(refusal.value)
    with sandbox.session(client_secret="wrong") as session, pytest.raises(InvalidClientError) as refusal:
        session.get(sandbox.api_url)
    assert "white space" not in f"{other.value} {refusal.value}"


@pytest.mark.parametrize(
    "scope, sent",
    [
        (None, None),
        ("", None),
        ([], None),
        ("email", ["email"]),
        ("openid email", ["openid email"]),
        (["openid", "email"], ["openid email"]),
        (("openid", "email"), ["openid email"]),
        ({"email"}, ["email"]),
    ],
)
def test_the_scope_is_sent_if_there_is_one(sandbox: Sandbox, scope: Any, sent: list[str] | None) -> None:
    """Scopes are sent as a list with spaces between, on each renewal; an answer with other scopes is as good as any."""
    with sandbox.session(scope=scope) as session:
        session.get(sandbox.api_url)
        assert form(sandbox).get("scope") == sent
        assert session.fetch_token()["scope"] != sent
        assert form(sandbox).get("scope") == sent


def test_a_secret_from_a_callable_is_asked_for_each_try(sandbox: Sandbox, pauses: list[float]) -> None:
    """A callable client_secret is called for every try of every token request: a rotated secret is picked up."""
    vault = iter(["old", sandbox.client_secret, "next"])
    sandbox.answer_next_token_requests(1, 503)
    with sandbox.session(client_secret=lambda: next(vault)) as session:
        session.fetch_token()
        sandbox.client_secret = "next"
        session.fetch_token()
    assert len(pauses) == 1


NO_FILE = FileNotFoundError(errno.ENOENT, "No such file or directory", "/run/secrets/gopacs")


@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        *((answer, "returned no non-empty string") for answer in (None, "", "  ", b"bytes", 1)),
        (KeyError("vault"), f"raised KeyError in {__file__}, line "),
        (StopIteration(), f"raised StopIteration in {__file__}, line "),
        (OSError("vault"), f"raised OSError in {__file__}, line "),
        (NO_FILE, f"raised FileNotFoundError (No such file or directory) for /run/secrets/gopacs in {__file__}, line "),
    ],
    ids=repr,
)
def test_a_callable_that_gives_no_secret_is_a_token_request_error(sandbox: Sandbox, answer: Any, fault: str) -> None:
    """When the client_secret callable fails, or returns no text, nothing is sent, and the error says where it was."""

    def vault() -> Any:
        if isinstance(answer, Exception):
            raise answer
        return answer

    with sandbox.session(client_secret=vault) as session, pytest.raises(TokenRequestError) as failure:
        session.get(sandbox.api_url)
    assert f"the client_secret callable {fault}" in str(failure.value)
    assert sandbox.token_requests == sandbox.api_requests == []


# -- what carries it ---------------------------------------------------------------------------------------------------


@pytest.fixture
def bare(sandbox: Sandbox) -> Iterator[GopacsSession]:
    """A session that doesn't know the sandbox's certificate yet."""
    environment = replace(sandbox.environment, ca_bundle=None)
    with GopacsSession(sandbox.client_id, sandbox.client_secret, environment) as bare:
        yield bare


def test_a_mounted_adapter_carries_it(sandbox: Sandbox, bare: GopacsSession) -> None:
    """An adapter that the user mounts for the authorization server's host sends the token request."""
    adapter = Recording()
    bare.verify = sandbox.ca_file
    bare.mount("https://localhost", adapter)
    bare.get(f"{sandbox.api_url}/x")
    assert adapter.sent == [("POST", sandbox.environment.token_url), ("GET", f"{sandbox.api_url}/x")]


def test_verify_holds_for_it(sandbox: Sandbox, bare: GopacsSession, pauses: list[float]) -> None:
    """The session's verify decides whom the secret is sent to; the one try without the right CA says what is wrong."""
    with pytest.raises(AuthorizationServerError) as failure:
        bare.get(sandbox.api_url)
    host = sandbox.api_url.removeprefix("https://")
    for part in f"of {host} is not", "verify failed", "REQUESTS_CA_BUNDLE", "session.verify", "gopacs-session check":
        assert part in str(failure.value)
    assert sandbox.token_requests == pauses == []
    bare.verify = sandbox.ca_file
    assert bare.get(sandbox.api_url).status_code == 200


def test_what_a_call_says_of_tls_and_proxies_does_not_hold_for_it(
    sandbox: Sandbox, bare: GopacsSession, proxy: Proxy, pauses: list[float]
) -> None:
    """verify and proxies on a call are for that call: the token request goes by those of the session."""
    with pytest.raises(AuthorizationServerError, match="not trusted"):
        bare.get(sandbox.api_url, verify=sandbox.ca_file)
    bare.verify = sandbox.ca_file
    bare.get(sandbox.api_url, proxies={"https": proxy.url})
    assert len(sandbox.token_requests) == len(sandbox.api_requests) == len(proxy.connects) == 1


def test_a_verify_of_false_holds_for_it(sandbox: Sandbox, bare: GopacsSession) -> None:
    """Who switches the verification off for the session gets urllib3's warning for the token request, and a token."""
    bare.verify = False
    with pytest.warns(Warning, match="Unverified HTTPS request"):
        assert bare.fetch_token()


@pytest.mark.usefixtures("pauses")
def test_cert_goes_with_it(authority: Authority) -> None:
    """The session's client certificate is shown to a token endpoint that asks for one."""
    with authority.server(raw(http(TOKEN)), client_certificates=True) as server:
        session = client_of(server, authority)
        with pytest.raises(AuthorizationServerError):
            session.fetch_token()
        session.cert = authority.client_file
        session.fetch_token()
        session.close()
    [certificate] = server.client_certificates
    assert (("commonName", "the client"),) in certificate["subject"]


def test_proxies_carry_it(sandbox: Sandbox, bare: GopacsSession, proxy: Proxy) -> None:
    """The token request goes through the session's proxies, with the credentials that they want."""
    bare.verify = sandbox.ca_file
    bare.proxies = {"https": proxy.url.replace("//", "//user:password@")}
    bare.fetch_token()
    assert proxy.connects == [("CONNECT", sandbox.api_url.removeprefix("https://"))]
    assert str(proxy.authorizations[0]).startswith("Basic ")
    assert len(sandbox.token_requests) == 1


@pytest.mark.parametrize("name", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY"])
def test_the_environments_proxies_carry_it(
    sandbox: Sandbox, bare: GopacsSession, proxy: Proxy, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """The proxies of the process's environment carry the token request, unless NO_PROXY exempts its host."""
    monkeypatch.setenv(name, proxy.url)
    bare.verify = sandbox.ca_file
    bare.fetch_token()
    assert len(proxy.connects) == 1
    monkeypatch.setenv("NO_PROXY", "localhost")
    bare.fetch_token()
    assert len(proxy.connects) == 1
    assert len(sandbox.token_requests) == 2


@pytest.mark.parametrize("name", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_the_environments_ca_bundle_holds_for_it(
    sandbox: Sandbox, bare: GopacsSession, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """The CA bundle of the process's environment is trusted for the token request."""
    monkeypatch.setenv(name, sandbox.ca_file)
    assert bare.fetch_token()


def test_without_trust_env_the_environment_is_ignored(
    sandbox: Sandbox, bare: GopacsSession, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With trust_env switched off neither the environment's proxies nor its CA bundle count for the token request."""
    monkeypatch.setenv("HTTPS_PROXY", proxy.url)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere.pem")
    bare.trust_env = False
    bare.verify = sandbox.ca_file
    assert bare.fetch_token()
    assert proxy.connects == []


# -- redirects ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[Sandbox]:
    with Sandbox() as elsewhere:
        yield elsewhere


@pytest.mark.parametrize("status", range(300, 309))
def test_redirects_of_the_token_endpoint_are_never_followed(
    sandbox: Sandbox, session: GopacsSession, elsewhere: Sandbox, status: int
) -> None:
    """A redirect of the token endpoint is an error, and the secret arrives nowhere else."""
    elsewhere.trust(session)
    path = "/realms/gopacs/protocol/openid-connect/token/elsewhere"
    host = elsewhere.api_url.removeprefix("https:")
    locations = [f"https:{host}{path}", f"http:{host}{path}", f"{host}{path}", path]
    for location in locations:
        sandbox.answer_next_token_requests(1, status, headers={"Location": location})
        with pytest.raises(TokenRequestError, match="redirects are not followed with a secret") as refusal:
            session.get(sandbox.api_url, allow_redirects=True)
        assert type(refusal.value) is TokenRequestError
        assert refusal.value.status_code == status
    assert elsewhere.token_requests == elsewhere.api_requests == sandbox.api_requests == []
    assert len(sandbox.token_requests) == len(locations)


def partial_send(session: GopacsSession) -> None:
    session.send = functools.partial(session.send, timeout=30)  # type: ignore[method-assign]  # People do.


def partial_request(session: GopacsSession) -> None:
    session.request = functools.partial(session.request, timeout=30)  # type: ignore[method-assign]


def a_wrapper_that_follows_redirects(session: GopacsSession) -> None:
    send = session.send

    def wrapper(request: requests.PreparedRequest, **options: Any) -> requests.Response:
        return send(request, **{**options, "allow_redirects": True, "stream": False})

    session.send = wrapper  # type: ignore[method-assign]


def a_wrapper_that_looks_at_the_answer(session: GopacsSession) -> None:
    send = session.send

    def wrapper(request: requests.PreparedRequest, **options: Any) -> requests.Response:
        answer = send(request, **options)
        assert answer.request.url == request.url
        assert b"".join(answer.iter_content(10)) == answer.content
        return answer

    session.send = wrapper  # type: ignore[method-assign]


def a_mocker(session: GopacsSession) -> None:
    requests_mock.Mocker(session=session, real_http=True).start()


@pytest.mark.parametrize(
    "wrap",
    [partial_send, partial_request, a_wrapper_that_follows_redirects, a_wrapper_that_looks_at_the_answer, a_mocker],
)
def test_a_wrapped_session_lets_nothing_out(
    sandbox: Sandbox, session: GopacsSession, elsewhere: Sandbox, wrap: Callable[[GopacsSession], None]
) -> None:
    """Whatever people wrap around a session's methods, the secret follows no redirect, and no cookie is kept."""
    elsewhere.trust(session)
    wrap(session)
    headers = {"Location": f"{elsewhere.api_url}/realms/", "Set-Cookie": "load-balancer=1; Path=/"}
    sandbox.answer_next_token_requests(1, 307, headers=headers)
    sandbox.answer_next_token_requests(1, 200, body=GOOD, headers=headers)
    with pytest.raises(TokenRequestError):
        session.get(sandbox.api_url)
    assert session.get(sandbox.api_url).status_code == 200
    assert elsewhere.token_requests == elsewhere.api_requests == [*session.cookies] == []
    assert "Cookie" not in sandbox.api_requests[0].headers


# -- tries -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", TRANSIENT)
def test_transient_answers_are_tried_three_times(
    sandbox: Sandbox, session: GopacsSession, pauses: list[float], status: int
) -> None:
    """What may pass, 408, 425, 429 and every 5xx, costs three tries in all, with a pause before each further one."""
    sandbox.answer_next_token_requests(99, status)
    with pytest.raises(AuthorizationServerError) as failure:
        session.get(sandbox.api_url)
    assert failure.value.status_code == status
    assert len(sandbox.token_requests) == 3
    assert len(pauses) == 2
    assert sandbox.api_requests == []


@pytest.mark.parametrize("failures", [1, 2])
@pytest.mark.parametrize("status", TRANSIENT)
def test_the_second_or_third_try_may_succeed(
    sandbox: Sandbox, session: GopacsSession, pauses: list[float], status: int, failures: int
) -> None:
    """A token endpoint that recovers in time goes unnoticed, whatever its errors say; each try has the same form."""
    sandbox.answer_next_token_requests(failures, status, body={"error": "invalid_client"})
    assert session.get(sandbox.api_url).status_code == 200
    assert len(sandbox.token_requests) == failures + 1
    assert len({exchange.body for exchange in sandbox.token_requests}) == 1
    assert len(pauses) == failures


def circle() -> Exception:
    """An exception that is the cause of its own cause: an adapter may raise that, too."""
    error, cause = requests.ConnectionError("round"), OSError("and round")
    error.__cause__, cause.__cause__ = cause, error
    return error


FAILURES: dict[str, tuple[Exception, int]] = {
    "the adapter's own retries, which count as one try": (requests.exceptions.RetryError("enough"), 3),
    # The system may give a connection up long before token_timeout; that is no signal handler's TimeoutError.
    "the system's timeout": (requests.ConnectionError(TimeoutError(errno.ETIMEDOUT, "Connection timed out")), 3),
    "a circle": (circle(), 3),
    "no network's fault": (ZeroDivisionError(), 1),
}


@pytest.mark.parametrize("kind", FAILURES)
def test_an_adapters_errors_are_tried_again_if_they_may_pass(
    sandbox: Sandbox, session: GopacsSession, pauses: list[float], kind: str
) -> None:
    """What the network causes is tried three times, and what would be the same the next time once."""
    failure, tries = FAILURES[kind]

    class Failing(HTTPAdapter):
        def send(self, *args: Any, **options: Any) -> requests.Response:
            raise failure

    session.mount(sandbox.environment.token_url, Failing())
    with pytest.raises(TokenRequestError, match=type(failure).__name__) as caught:
        session.get(sandbox.api_url)
    assert len(pauses) == tries - 1
    assert isinstance(caught.value, AuthorizationServerError) == bool(pauses)


def test_a_long_description_is_cut(sandbox: Sandbox, session: GopacsSession) -> None:
    """Of an error_description that goes on and on the error keeps 200 characters."""
    sandbox.answer_next_token_requests(1, 400, body={"error": "invalid_request", "error_description": "x" * 5000})
    with pytest.raises(TokenRequestError) as failure:
        session.get(sandbox.api_url)
    assert failure.value.description == "x" * 200


def test_pauses_grow_and_vary(
    sandbox: Sandbox, session: GopacsSession, pauses: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first pause is up to half a second, and the second one up to a second; chance takes up to half of them."""
    ends: list[Callable[[float, float], float]] = [min, max]
    for end in ends:
        monkeypatch.setattr(random, "uniform", end)
        sandbox.answer_next_token_requests(3, 503)
        with pytest.raises(AuthorizationServerError):
            session.fetch_token()
    assert pauses == [0.25, 0.5, 0.5, 1.0]


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("header, pause", [("0", 0), ("1", 1), ("3", 3), (" 2 ", 2), ("5", 5)])
def test_a_short_retry_after_is_honoured(
    sandbox: Sandbox, session: GopacsSession, pauses: list[float], status: int, header: str, pause: float
) -> None:
    """Up to 5 s, the pause is as long as the server asks, and after three tries nobody is kept waiting for longer."""
    sandbox.answer_next_token_requests(3, status, headers={"Retry-After": header})
    with pytest.raises(AuthorizationServerError):
        session.get(sandbox.api_url)
    assert pauses == [pause, pause]
    assert session.get(sandbox.api_url).status_code == 200


@pytest.mark.parametrize("ahead, least, most", [(3, 1.5, 3), (0, 0, 0), (-60, 0, 0), (-(10**9), 0, 0)])
def test_a_short_retry_after_may_be_a_date(
    sandbox: Sandbox, session: GopacsSession, pauses: list[float], ahead: int, least: float, most: float
) -> None:
    """A Retry-After that is a date makes the pause last until then; a past one asks for none."""
    date = format_datetime(datetime.now(timezone.utc) + timedelta(seconds=ahead), usegmt=True)
    sandbox.answer_next_token_requests(1, 503, headers={"Retry-After": date})
    session.fetch_token()
    assert least <= pauses[0] <= most


@pytest.mark.parametrize(
    "header",
    [
        *("", "soon", "-1", "1.5", "1e3", "nan", "inf", "0x10", "1,2", "\u00b2", "\u00bd", "None", "5 s", "\x01"),
        "Mon, 99 Foo",
        "Fri, 31 Dec 99999 23:59:59 GMT",
        "Fri, 31 Dec 99999999999999999999 23:59:59 GMT",
        "Sun, 06 Nov 1994 08:49:37",
        "Mon, 01 Jan 0001 00:00:00 -0000",
    ],
    ids=ascii,
)
def test_a_retry_after_that_makes_no_sense_does_no_harm(
    sandbox: Sandbox, session: GopacsSession, pauses: list[float], header: str
) -> None:
    """A malformed Retry-After leaves a pause of at most 5 s and the next try its chance, and no error quotes it."""
    sandbox.answer_next_token_requests(1, 503, headers={"Retry-After": header})
    session.fetch_token()
    assert len(pauses) == 1
    assert 0 <= pauses[0] <= 5
    sandbox.answer_next_token_requests(1, 400, headers={"Retry-After": header})
    with pytest.raises(TokenRequestError) as refusal:
        session.fetch_token()
    assert refusal.value.retry_after in (None, 0)


def test_the_error_tells_how_long_the_server_asked_to_wait(
    sandbox: Sandbox, session: GopacsSession, pauses: list[float]
) -> None:
    """retry_after is what the last answer's Retry-After says, not only the part of it that was honoured."""
    sandbox.answer_next_token_requests(2, 503)
    sandbox.answer_next_token_requests(1, 429, headers={"Retry-After": "120"})
    with pytest.raises(AuthorizationServerError) as failure:
        session.fetch_token()
    assert (failure.value.status_code, failure.value.retry_after) == (429, 120)


def test_an_unreachable_server_is_tried_three_times(pauses: list[float]) -> None:
    """A refused connection costs three tries, and is an AuthorizationServerError without a status."""
    with socket.socket() as silent:  # It has the port, and does not listen.
        silent.bind(("127.0.0.1", 0))
        url = f"https://127.0.0.1:{silent.getsockname()[1]}"
        environment = Environment("own", f"{url}/token", ("127.0.0.1",))
        session = GopacsSession("client", "secret", environment)
        with pytest.raises(AuthorizationServerError) as failure:
            session.get(f"{url}/api")
    assert failure.value.status_code is None
    assert len(pauses) == 2


@pytest.mark.parametrize("token_timeout", [0.3, (10, 0.05)])
def test_a_silent_server_is_given_up_after_token_timeout(
    sandbox: Sandbox, pauses: list[float], token_timeout: Any
) -> None:
    """Each try waits for token_timeout, whatever the session's and the call's own timeouts are."""
    with (
        sandbox.session(token_timeout=token_timeout, timeout=None) as session,
        sandbox.hold_token_requests(),
        pytest.raises(AuthorizationServerError) as failure,
    ):
        session.get(sandbox.api_url, timeout=60)
    assert failure.value.status_code is None
    sandbox.wait_for_token_requests(3)
    assert len(sandbox.token_requests) == 3
    assert len(pauses) == 2
    assert sandbox.api_requests == []


BROKEN: dict[str, Answer] = {
    "reset": reset,
    "closed": raw(b""),
    "no HTTP": raw(b"SSH-2.0-OpenSSH_9.2\r\n"),
    "half a status line": raw(b"HTTP/1.1 2"),
    "half a body": raw(http(TOKEN, "Content-Length: 4096")),
    "no body": raw(http(b"", "Content-Length: 78")),
    "half a chunk": raw(http(b"fff\r\n" + TOKEN, "Transfer-Encoding: chunked")),
    "no last chunk": raw(http(b"%x\r\n%s\r\n" % (len(TOKEN), TOKEN), "Transfer-Encoding: chunked")),
    "a chunk of nonsense": raw(http(b"soon\r\n" + TOKEN, "Transfer-Encoding: chunked")),
    "no gzip": raw(http(TOKEN, "Content-Encoding: gzip", "Connection: close")),
    "no deflate": raw(http(TOKEN, "Content-Encoding: deflate", "Connection: close")),
    "a header without end": raw(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000 + b"\r\n\r\n"),
    "headers without end": raw(b"HTTP/1.1 200 OK\r\n" + b"X: x\r\n" * 1000 + b"\r\n"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_broken_answers_are_tried_three_times(authority: Authority, pauses: list[float], kind: str) -> None:
    """An answer that is reset, cut off or garbled on its way costs three tries."""
    server = asked_in_vain(authority, BROKEN[kind], AuthorizationServerError)
    assert len(server.requests) == 3
    assert len(pauses) == 2
    assert len({request.partition(b"\r\n\r\n")[2] for request in server.requests}) == 1


def test_refused_by_the_proxy(sandbox: Sandbox, bare: GopacsSession, proxy: Proxy, pauses: list[float]) -> None:
    """A proxy that wants other credentials is asked once, and the error does not show those that it got."""
    proxy.refusal = "407 Proxy Authentication Required"
    bare.proxies = {"https": proxy.url.replace("//", "//user:the-proxys-password@")}
    with pytest.raises(AuthorizationServerError, match="proxy") as failure:
        bare.fetch_token()
    assert "the-proxys-password" not in str(failure.value)
    assert (len(proxy.connects), pauses) == (1, [])


# -- refusals ----------------------------------------------------------------------------------------------------------

BAD_CREDENTIALS = "Invalid client or Invalid client credentials"
NO_SERVICE_ACCOUNT = "Client not enabled to retrieve service account"
KEYCLOAKS: dict[str, tuple[dict[str, Any], dict[str, Any], int, str, str]] = {
    # What is changed at the sandbox, and in the session; and what the error tells.
    "wrong secret": ({}, {"client_secret": "wrong"}, 401, "unauthorized_client", BAD_CREDENTIALS),
    "unknown client": ({}, {"client_id": "unknown"}, 401, "invalid_client", BAD_CREDENTIALS),
    "disabled client": ({"client_enabled": False}, {}, 401, "invalid_client", BAD_CREDENTIALS),
    "no service account": ({"service_account_enabled": False}, {}, 401, "unauthorized_client", NO_SERVICE_ACCOUNT),
    "bad scope": ({}, {"scope": "email nonsense"}, 400, "invalid_scope", "Invalid scopes: email nonsense"),
}


def assert_refused(sandbox: Sandbox, session: GopacsSession, kind: type[TokenRequestError], *told: object) -> None:
    """A request ends in an error of this very kind, with this status, error and description, after one try."""
    with pytest.raises(kind) as refusal:
        session.get(sandbox.api_url)
    assert type(refusal.value) is kind
    assert (refusal.value.status_code, refusal.value.error, refusal.value.description) == told
    assert len(sandbox.token_requests) == 1
    assert sandbox.api_requests == []


@pytest.mark.parametrize("case", KEYCLOAKS)
def test_keycloaks_refusals(sandbox: Sandbox, case: str) -> None:
    """A refusal is told by its type, status, error and description, after one try, and nothing is sent to the API."""
    at_the_sandbox, options, *told = KEYCLOAKS[case]
    for name, value in at_the_sandbox.items():
        setattr(sandbox, name, value)
    with sandbox.session(**options) as session:
        assert_refused(sandbox, session, TokenRequestError if case == "bad scope" else InvalidClientError, *told)


@pytest.mark.parametrize(
    "status, error, description, kind",
    [
        (400, "invalid_client", BAD_CREDENTIALS, InvalidClientError),
        (400, "unauthorized_client", "Client not allowed for direct access grants", InvalidClientError),
        (403, "unauthorized_client", None, InvalidClientError),
        (400, "invalid_request", "Missing form parameter: grant_type", TokenRequestError),
        (400, "invalid_request", "duplicated parameter", TokenRequestError),
        (400, "unsupported_grant_type", "Unsupported grant_type", TokenRequestError),
        (400, "missingNormalization", "Request path not normalized", TokenRequestError),
        (403, "access_denied", "Realm not enabled", TokenRequestError),
        (404, "HTTP 404 Not Found", None, TokenRequestError),
        (404, "Realm does not exist", None, TokenRequestError),
        (405, "HTTP 405 Method Not Allowed", None, TokenRequestError),
        (401, None, None, TokenRequestError),
        (401, "invalid_request", "User 'service-account-x' disabled", InvalidClientError),
    ],
)
def test_other_refusals(
    sandbox: Sandbox,
    session: GopacsSession,
    status: int,
    error: str | None,
    description: str | None,
    kind: type[TokenRequestError],
) -> None:
    """Whatever else a server refuses with is told as it came, and is not tried again."""
    body = {"error": error, "error_description": description}
    sandbox.answer_next_token_requests(1, status, body={k: v for k, v in body.items() if v is not None})
    assert_refused(sandbox, session, kind, status, error, description)


# -- nonsense ----------------------------------------------------------------------------------------------------------


def token(**changes: Any) -> bytes:
    return json.dumps({**GOOD, **changes}).encode()


NO_TOKENS: list[Any] = [
    *(None, True, False, 0, 1, 1.5, [], ["abc"], {}, {"abc": 1}),
    *("", " ", "abc ", " abc", "abc\u00a0", "\ufeffabc"),
    *("a\r\nX-Evil: 1", "a\nb", "abc\r\n", "\r\nabc", "a\rb", "a\0b", "a\tb", "a\x7fb", "\x1b[31m"),
    *("\u00e9", "\u20ac", "a\u2028b", "\ud800", "\U0001f511"),
]
OTHER_TYPES: list[Any] = [
    *("mac", "DPoP", "Basic", "N_A", "", "Bearer ", "Bearer\r\n", "\u0299earer"),
    *(None, True, 1, [], ["Bearer"], {}),
]
NONSENSE: dict[str, bytes] = {
    "HTML": b"<!DOCTYPE html><html><body>Log in</body></html>",
    "null": b"null",
    "an empty list": b"[]",
    "a token in a list": b"[" + token() + b"]",
    "an empty object": b"{}",
    "a number": b"42",
    "an infinite number": b"1e400",
    "NaN": b"NaN",
    "a string": b'"access_token"',
    "true": b"true",
    "nothing": b"",
    "white space": b" \r\n",
    "NUL": b"\0" * 100,
    "invalid UTF-8": b'{"access_token": "\xff\xfe", "token_type": "Bearer"}',
    "a lone UTF-8 continuation": token().replace(b"abc", b"a\x80c"),
    "half an object": token()[:-1],
    "two objects": token() * 2,
    "a form": b"access_token=abc&token_type=Bearer",
    "nested lists": b"[" * 100_000 + b"]" * 100_000,
    "nested objects": b'{"access_token":' * 100_000 + b"1" + b"}" * 100_000,
    "a nested token": b'{"token_type":"Bearer","access_token":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "lists without end": b"[" * 100_000,
    "no token": json.dumps({"token_type": "Bearer"}).encode(),
    "an error beside the token": token(error="invalid_scope"),
    **{f"a token of {value!a}": token(access_token=value) for value in NO_TOKENS},
    **{f"a token_type of {value!a}": token(token_type=value) for value in OTHER_TYPES},
}


@pytest.mark.parametrize("kind", NONSENSE)
def test_nonsense_is_a_token_request_error(
    sandbox: Sandbox, session: GopacsSession, pauses: list[float], kind: str
) -> None:
    """Nonsense with status 200 is a TokenRequestError, is not tried again, and no API request is sent."""
    sandbox.answer_next_token_requests(1, 200, body=NONSENSE[kind], headers={"Content-Type": "application/json"})
    with pytest.raises(TokenRequestError) as refusal:
        session.get(sandbox.api_url)
    assert refusal.value.status_code == 200
    assert sandbox.api_requests == pauses == []
    assert not session.authorized
    assert session.get(sandbox.api_url).status_code == 200
    assert len(sandbox.token_requests) == 2


@pytest.mark.parametrize("status", [201, 202, 204, 205, 206, 226, 299, 400, 402, 403, 404, 410, 418, 499])
def test_any_status_but_200_is_a_token_request_error(
    sandbox: Sandbox, session: GopacsSession, pauses: list[float], status: int
) -> None:
    """Whatever the body, a status other than 200 brings no token, and no API request is sent."""
    for body in b"", token(), b"null", b"<html>", b"[" * 100_000:
        sandbox.answer_next_token_requests(1, status, body=body)
        with pytest.raises(TokenRequestError) as refusal:
            session.get(sandbox.api_url)
        assert type(refusal.value) is TokenRequestError
        assert refusal.value.status_code == status
    assert len(sandbox.token_requests) == 5
    assert sandbox.api_requests == pauses == []


@pytest.mark.parametrize(
    "changes",
    [
        {"token_type": "bearer"},
        {"token_type": "BEARER"},
        {"token_type": "bEaReR"},
        {"access_token": "~!#$%&'()*+,-./:;"},
        {"access_token": "x" * 20_000},
        {"error": None},
        {"scope": None},
        {"extra": {"deep": [1]}},
        {"not-before-policy": 0},
    ],
    ids=lambda changes: ascii(changes)[:30],
)
def test_answers_that_are_good_enough(sandbox: Sandbox, session: GopacsSession, changes: dict[str, Any]) -> None:
    """Bearer in any case, and any printable token, is sent to the API as it came."""
    sandbox.answer_next_token_requests(1, 200, body=GOOD | changes)
    assert session.get(sandbox.api_url).status_code == 200
    assert sandbox.api_requests[0].authorization == f"Bearer {(GOOD | changes)['access_token']}"


def test_the_manuals_sample_answer(sandbox: Sandbox, session: GopacsSession) -> None:
    """An answer with a refresh token and a lower-case bearer is as good, and the refresh token is never sent."""
    sandbox.refresh_tokens = True
    session.get(sandbox.api_url)
    refresh_token = session.fetch_token()["refresh_token"]
    session.fetch_token()
    assert all(refresh_token.encode() not in exchange.body for exchange in sandbox.token_requests)
    assert form(sandbox)["grant_type"] == ["client_credentials"]


def test_an_answer_in_many_small_chunks_is_whole(authority: Authority) -> None:
    """However the server cuts its answer into chunks, all of it is read."""
    answer = chunked(bytes([byte]) for byte in TOKEN)
    with authority.server(answer) as server, client_of(server, authority) as session:
        assert session.fetch_token()["access_token"] == "from-the-raw-server"


GZIP = "Content-Encoding: gzip"
NOTHING = gzip.compress(b"")
WITHOUT_A_NAMES_END = b"\x1f\x8b\x08\x08" + bytes(6)  # The flag says that a file's name follows (RFC 1952).
ENDLESS = {
    "plain": chunked(repeat(b" " * 65536, 2000)),
    "zipped": chunked(repeat(gzip.compress(b" " * 10_000_000), 2000), GZIP),
    "zipped, of nothing": chunked(repeat(NOTHING * 1000, 5000), GZIP),
    "zipped, with a name": chunked(chain([WITHOUT_A_NAMES_END], repeat(b"x" * 65536, 2000)), GZIP),
}


@pytest.mark.usefixtures("pauses")
@pytest.mark.parametrize("kind", ENDLESS)
def test_an_answer_without_end_is_cut(authority: Authority, kind: str) -> None:
    """An endless answer, whatever it decodes to, is given up after a while with a TokenRequestError."""
    assert asked_in_vain(authority, ENDLESS[kind]).sent < 40_000_000


@pytest.mark.parametrize("coding, encode", [("identity", bytes), ("gzip", gzip.compress), ("deflate", zlib.compress)])
def test_an_answer_of_up_to_1_mib_is_read(
    sandbox: Sandbox, session: GopacsSession, coding: str, encode: Callable[[bytes], bytes]
) -> None:
    """A longer one is cut, whatever it came as, and brings no token."""
    for more in 0, 1:
        body = encode(token().rjust(2**20 + more))
        sandbox.answer_next_token_requests(1, 200, body=body, headers={"Content-Encoding": coding})
        with pytest.raises(TokenRequestError) if more else nullcontext():
            session.fetch_token()


def test_a_zipped_answer_fills_no_memory(sandbox: Sandbox, session: GopacsSession) -> None:
    """Of an answer of a few kilobytes that decodes to 100 MB, little more than 1 MiB is decoded."""
    bomb = gzip.compress(bytes(100_000_000))
    sandbox.answer_next_token_requests(1, 200, body=bomb, headers={"Content-Encoding": "gzip"})
    tracemalloc.start()
    with pytest.raises(TokenRequestError):
        session.fetch_token()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20_000_000


def dripping(head: bytes, part: bytes) -> Answer:
    """An answer that ends only after 10 s, and always has a little more to tell in time."""

    def answer(_: bytes) -> Iterator[bytes]:
        yield head
        for _pause in range(5000):
            threading.Event().wait(0.002)
            yield part

    return answer


DRIPS = {
    "plain": dripping(http(b"", "Content-Length: 5000"), b" "),
    "in chunks": dripping(http(b"", "Transfer-Encoding: chunked"), b"1\r\n \r\n"),
    "zipped, of nothing": dripping(http(b"", GZIP, "Content-Length: 5000000"), NOTHING),
    "zipped, with a name": dripping(http(WITHOUT_A_NAMES_END, GZIP, "Content-Length: 5010"), b"x"),
}


@pytest.mark.usefixtures("pauses")
@pytest.mark.parametrize("kind", DRIPS)
def test_an_answer_that_drips_is_given_up(authority: Authority, kind: str) -> None:
    """A server that sends its answer byte by byte is given up, for each try, soon after token_timeout."""
    started = time.perf_counter()
    server = asked_in_vain(authority, DRIPS[kind], AuthorizationServerError, token_timeout=(10, 0.05))
    assert len(server.requests) == 3
    assert time.perf_counter() - started < 10


@pytest.mark.parametrize("opening", ["[", '{"a":'])
def test_a_session_is_copied_and_pickled_however_deep_its_tokens_answer_is(
    sandbox: Sandbox, session: GopacsSession, opening: str
) -> None:
    """An answer with few levels is taken, and its session can be copied and pickled; a deep one brings no token."""
    taken = []
    for depth in (0, 1, 3, 10, 17, 18, 19, 20, 30, 100, 300, 900, 5000):
        nested = opening * depth + "1" + {"[": "]"}.get(opening, "}") * depth
        sandbox.answer_next_token_requests(1, 200, body=token()[:-1] + f', "nested": {nested}}}'.encode())
        try:
            session.fetch_token()
        except TokenRequestError:
            continue
        taken.append(depth)
        for copied in (copy.deepcopy(session), *(pickle.loads(pickle.dumps(session, n)) for n in range(6))):
            assert copied.token["nested"] == session.token["nested"]
    assert taken == [0, 1, 3, 10, 17, 18]


UNNOTICED = {
    "half a header": b"HTTP/1.1 200 OK\r\nContent-Le",
    "half a gzip": http(gzip.compress(TOKEN)[:40], "Content-Encoding: gzip", "Content-Length: 40"),
    "half a body without a length": http(TOKEN[:40], "Connection: close"),
    "another protocol": http(b"", "Upgrade: websocket", "Connection: Upgrade", status="101 Switching Protocols"),
    "HTTP 0.9": TOKEN,
}


@pytest.mark.usefixtures("pauses")
@pytest.mark.parametrize("kind", UNNOTICED)
def test_what_http_does_not_notice_brings_no_token(authority: Authority, kind: str) -> None:
    """An answer that is broken in a way that passes for a whole one is a TokenRequestError."""
    asked_in_vain(authority, raw(UNNOTICED[kind]))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
KEYS = st.sampled_from([*GOOD, "error", "error_description", "scope"])
PRINTABLE = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=1, max_size=20)
TOKENS = st.fixed_dictionaries(
    {"access_token": PRINTABLE | st.text(max_size=20) | JSON},
    optional={"token_type": st.sampled_from(["Bearer", "bearer", "mac", 1]), "error": JSON, "expires_in": JSON},
)
BODIES = (
    st.binary(max_size=200)
    | (JSON | st.dictionaries(KEYS, JSON)).map(lambda value: json.dumps(value).encode())
    | TOKENS.map(lambda value: json.dumps(value).encode())
    | st.builds(token, access_token=PRINTABLE, expires_in=JSON)
    | TOKENS.map(lambda value: json.dumps(value, ensure_ascii=False).encode("utf-16", "surrogatepass"))
)
HEADERS = st.fixed_dictionaries(
    {},
    optional={
        "Content-Type": st.sampled_from(["application/json", "text/html; charset=nonsense", "\xff", ""]),
        "Content-Encoding": st.sampled_from(["gzip", "deflate", "br", "identity", "nonsense", "gzip, gzip"]),
        "Retry-After": st.text(st.characters(min_codepoint=32, max_codepoint=255), max_size=8),
        "Location": st.sampled_from(["/", "http://[", "https://user@evil.example/", "\xff", ""]),
        "WWW-Authenticate": st.sampled_from(["Basic", "Bearer error=", "Digest qop"]),
        "Set-Cookie": st.sampled_from(["=", "a=b; Domain=evil.example", "\xff"]),
        "Link": st.sampled_from(["<", "<https://evil.example>; rel=next"]),
    },
)


@settings(
    max_examples=200,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],  # The list of pauses may well grow.
)
@given(status=st.integers(200, 599) | st.just(200), body=BODIES, headers=st.just({}) | HEADERS)
def test_whatever_comes_is_a_token_or_a_token_request_error(
    elsewhere: Sandbox, pauses: list[float], status: int, body: bytes, headers: dict[str, str]
) -> None:
    """Any bytes with any status are a TokenRequestError and no API request, or a token that arrives as it is."""
    before = len(elsewhere.api_requests)
    elsewhere.answer_next_token_requests(3, status, body=body, headers=headers)
    elsewhere.answer_next_api_requests(1, 200)
    try:
        with elsewhere.session() as session:
            session.get(elsewhere.api_url)
    except TokenRequestError:
        assert len(elsewhere.api_requests) == before
    else:
        assert status == 200
        assert elsewhere.api_requests[-1].authorization == f"Bearer {json.loads(body)['access_token']}"
        assert re.fullmatch("Bearer [\x20-\x7e]+", str(elsewhere.api_requests[-1].authorization))
    finally:
        elsewhere.answer_next_token_requests(0, 200)
        elsewhere.answer_next_api_requests(0, 200)


class Zipped(Offline):
    """Answers as the package responses makes them: read in full, they would be decoded on the way."""

    def send(self, request: requests.PreparedRequest, *args: Any, **options: Any) -> requests.Response:
        headers = {"Content-Encoding": "gzip"}
        body = io.BytesIO(gzip.compress(TOKEN))
        return HTTPAdapter().build_response(request, HTTPResponse(body, headers, 200, preload_content=False))


@pytest.mark.parametrize("adapter", [Offline(body=TOKEN), Zipped()], ids=["read already", "zipped"])
def test_an_answer_that_came_by_other_means_is_taken(adapter: Offline) -> None:
    """An adapter without a connection can bring the token, too."""
    session = GopacsSession("client", "secret", "acceptance")
    session.mount("https://auth.acc.gopacs-services.eu", adapter)
    assert session.fetch_token()["access_token"] == "from-the-raw-server"
