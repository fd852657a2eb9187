"""The client credentials grant: what is sent for a token, how often, and what becomes of each answer."""

from __future__ import annotations

import math
import os
import pickle
from collections.abc import Callable, Iterator
from dataclasses import replace
from email.utils import formatdate
from pathlib import Path
from typing import Any
from unittest.mock import Mock
from urllib.parse import parse_qs

import pytest
import requests
import requests_mock
from servers import Authority, RawServer, chunked, http, proxying, raw
from support import Clock, Offline, Recording

from gopacs_session import AuthorizationServerError, GopacsSession, InvalidClientError, TokenRequestError
from gopacs_session.sandbox import Sandbox

GOOD = {"access_token": "abc", "expires_in": 300, "token_type": "Bearer"}
TOKEN = b'{"access_token":"abc","expires_in":300,"token_type":"Bearer"}'


def form(sandbox: Sandbox) -> dict[str, list[str]]:
    """The fields of the last token request."""
    return parse_qs(sandbox.token_requests[-1].body.decode("ascii"), keep_blank_values=True, strict_parsing=True)


# -- what is sent ------------------------------------------------------------------------------------------------------


def test_a_token_costs_one_form_post(sandbox: Sandbox, session: GopacsSession) -> None:
    """The token request is one POST of a form, with the credentials in its body, that asks for JSON, unstored."""
    session.get(f"{sandbox.api_url}/participants", params={"q": "1"})
    [exchange] = sandbox.token_requests
    assert (exchange.method, exchange.query, exchange.authorization) == ("POST", "", None)
    assert sandbox.environment.token_url.endswith(exchange.path)
    sent = {name: exchange.headers[name] for name in ("Accept", "Accept-Encoding", "Cache-Control", "Content-Type")}
    assert [*sent.values()] == ["application/json", "identity", "no-store", "application/x-www-form-urlencoded"]
    credentials = {"client_id": [sandbox.client_id], "client_secret": [sandbox.client_secret]}
    assert form(sandbox) == {"grant_type": ["client_credentials"], **credentials}


def test_nothing_of_the_users_goes_with_it(sandbox: Sandbox, session: GopacsSession) -> None:
    """The params, headers, cookies, auth and hooks of session and call, and netrc, stay out of the token request."""
    Path(os.environ["NETRC"]).write_text("machine localhost login users-own password users-own\n")
    session.trust_env, seen = True, []

    def hook(response: requests.Response, **_: Any) -> None:
        seen.append(response.request.path_url)

    session.params, session.hooks["response"] = {"users-own": "1"}, [hook]
    session.headers.update(dict.fromkeys(("X-Own", "User-Agent", "Accept", "Authorization", "Cookie"), "users-own"))
    session.cookies.set("users-own", "1")
    own = {"X-Other": "users-own"}
    session.post(f"{sandbox.api_url}/x", b"body", params=own, headers=own, cookies=own, hooks={"response": [hook]})
    session.auth = ("users-own", "users-own")
    session.fetch_token()
    for exchange in sandbox.token_requests:
        assert "users-own" not in f"{dict(exchange.headers)} {exchange.query} {exchange.body!r}"
        assert {"Authorization", "Cookie"}.isdisjoint(exchange.headers)
    assert set(seen) == {"/x?users-own=1&X-Other=users-own"}


ODD = [("+/%&= ü€", ""), ("%2B%20", "\n"), (" padded ", "\r\n\n"), ("\\\U0001f511\u05d0", "\n\n\n")]


@pytest.mark.parametrize("secret, end", ODD, ids=ascii)
def test_any_secret_arrives_intact(secret: str, end: str) -> None:
    """Reserved, padded and non-Latin characters arrive as they are, and line breaks at a secret's end do not."""
    with Sandbox(client_id=f"id {secret}", client_secret=secret) as sandbox:
        with sandbox.session(client_secret=secret + end) as session:
            assert session.get(sandbox.api_url).status_code == 200
        assert form(sandbox)["client_id"] == [f"id {secret}"]


@pytest.mark.parametrize("scope, sent", [(None, None), ("", None), ("a b", ["a b"]), (["a", "b"], ["a b"])])
def test_the_scope_is_sent_if_there_is_one(sandbox: Sandbox, scope: Any, sent: list[str] | None) -> None:
    """Scopes are sent as a list with spaces between, and an answer with others is as good as any."""
    sandbox.answer_next_token_requests(1, 200, body={**GOOD, "scope": "others"})
    with sandbox.session(scope=scope) as session:
        assert session.fetch_token()["scope"] == "others"
    assert form(sandbox).get("scope") == sent


def test_a_secret_from_a_callable_is_asked_for_each_try(sandbox: Sandbox, pauses: list[float]) -> None:
    """A callable client_secret is called for every try of every token request: a rotated secret is picked up."""
    vault = Mock(side_effect=["old", sandbox.client_secret, "next"])
    sandbox.answer_next_token_requests(1, 503)
    with sandbox.session(client_secret=vault) as session:
        session.fetch_token()
        sandbox.client_secret = "next"
        session.fetch_token()
    assert len(pauses) == 1


def test_what_a_callable_raises_is_the_callers_own(sandbox: Sandbox) -> None:
    """An error of the vault's own reaches the caller as it is, and is not remembered."""
    vault = Mock(side_effect=[KeyError("vault"), KeyError("vault"), sandbox.client_secret])
    with sandbox.session(client_secret=vault) as session:
        for _ in range(2):
            with pytest.raises(KeyError, match="vault"):
                session.get(sandbox.api_url)
        assert session.get(sandbox.api_url).ok


@pytest.mark.parametrize("secret", [None, "", "  ", b"bytes", 1, "\udcff"])
def test_a_callable_that_returns_no_secret_is_an_error(sandbox: Sandbox, secret: Any) -> None:
    """Without a secret nothing is sent, and the error says whose fault it is."""
    refused = pytest.raises(TokenRequestError, match="client_secret callable returned")
    with sandbox.session(client_secret=lambda: secret) as session, refused:
        session.get(sandbox.api_url)
    assert sandbox.token_requests == sandbox.api_requests == []


# -- what carries it ---------------------------------------------------------------------------------------------------


@pytest.fixture
def bare(sandbox: Sandbox) -> Iterator[GopacsSession]:
    """A session that doesn't know the sandbox's certificate yet."""
    environment = replace(sandbox.environment, ca_bundle=None)
    with GopacsSession(sandbox.client_id, sandbox.client_secret, environment) as bare:
        yield bare


def test_the_sessions_adapters_proxies_and_verify_carry_it(sandbox: Sandbox, bare: GopacsSession) -> None:
    """The user's adapter sends it, through the session's proxy, verified by what the session trusts."""
    adapter = Recording()
    bare.mount("https://localhost", adapter)
    with proxying() as proxy:
        bare.verify, bare.proxies = sandbox.ca_file, {"https": proxy.url}
        bare.get(f"{sandbox.api_url}/x")
    assert adapter.sent == [("POST", sandbox.environment.token_url), ("GET", f"{sandbox.api_url}/x")]
    assert [method for method, _ in proxy.connects] == ["CONNECT"]


def test_the_variables_of_requests_hold_for_it(
    sandbox: Sandbox, bare: GopacsSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy and a CA bundle that the environment names carry it, unless trust_env is switched off."""
    with proxying() as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", sandbox.ca_file)
        bare.fetch_token()
        bare.trust_env, bare.verify = False, sandbox.ca_file
        bare.fetch_token()
    assert len(proxy.connects) == 1


def test_an_untrusted_certificate_is_tried_once(sandbox: Sandbox, bare: GopacsSession, pauses: list[float]) -> None:
    """The secret goes to nobody who is not trusted, and the error names the host, the reason and the remedy."""
    words = rf"of {sandbox.api_url[8:]} is not trusted \(.*unable to get local issuer.*GOPACS_CA_BUNDLE"
    with pytest.raises(AuthorizationServerError, match=words):
        bare.get(sandbox.api_url, verify=sandbox.ca_file)  # A call's own verify is for that call.
    assert sandbox.token_requests == pauses == []


@pytest.mark.parametrize("content", [None, "", "no certificate", "-----BEGIN CERTIFICATE-----\nAAAA\n"])
def test_a_ca_bundle_that_holds_no_certificate_is_an_error_at_the_first_try(
    sandbox: Sandbox, pauses: list[float], tmp_path: Path, content: str | None
) -> None:
    """A missing, empty or malformed bundle is told as such, and not tried again as a fault of the network."""
    bundle = tmp_path / "bundle.pem"
    if content is not None:
        bundle.write_text(content)
    environment = replace(sandbox.environment, ca_bundle=str(bundle))
    with GopacsSession("c", "s", environment) as session, pytest.raises(TokenRequestError, match="can't be loaded"):
        session.get(sandbox.api_url)
    assert pauses == []


@pytest.mark.parametrize("status, tries", [("407 Proxy Authentication Required", 1), ("502 Bad Gateway", 3)])
def test_a_proxy_that_refuses(session: GopacsSession, pauses: list[float], status: str, tries: int) -> None:
    """Wrong credentials for a proxy are tried once, other refusals thrice, and the error has no password."""
    with proxying() as proxy:
        proxy.refusal = status
        session.proxies = {"https": proxy.url.replace("//", "//user:hidden@")}
        with pytest.raises(AuthorizationServerError, match=f"the proxy answered {status[:3]}") as failure:
            session.fetch_token()
    assert (len(proxy.connects), len(pauses)) == (tries, tries - 1)
    assert "hidden" not in str(failure.value)


@pytest.mark.parametrize("url", ["http://user:hidden@proxy:port", "http://"])
def test_a_malformed_proxy_is_told_without_its_password(session: GopacsSession, url: str) -> None:
    """A proxy's URL that can't be used is an error at the first try, and is not quoted."""
    session.proxies = {"https": url}
    with pytest.raises(TokenRequestError, match=r"could not be sent .* Check the proxy's URL") as failure:
        session.fetch_token()
    assert "hidden" not in str(failure.value)


def follow_redirects(session: GopacsSession) -> None:
    send = session.send
    session.send = lambda request, **options: send(request, **{**options, "allow_redirects": True})  # type: ignore[method-assign]


def mock(session: GopacsSession) -> None:
    requests_mock.Mocker(session=session, real_http=True).start()


@pytest.mark.parametrize("wrap", [lambda session: None, follow_redirects, mock])
@pytest.mark.parametrize("status", [300, 302, 307])
def test_the_secret_follows_no_redirect(
    sandbox: Sandbox, session: GopacsSession, status: int, wrap: Callable[[GopacsSession], None]
) -> None:
    """Whatever is wrapped around the session's send, no redirect is followed, and its host alone is told."""
    with Sandbox() as elsewhere:
        elsewhere.trust(session)
        wrap(session)
        location = {"Location": f"{elsewhere.api_url}/realms/?key", "Set-Cookie": "load-balancer=1; Path=/"}
        sandbox.answer_next_token_requests(1, status, headers=location)
        with pytest.raises(TokenRequestError, match=rf"redirects \({status} to localhost\).*maintenance") as failure:
            session.get(sandbox.api_url)
        assert "key" not in str(failure.value)
        sandbox.answer_next_token_requests(1, 200, body=GOOD, headers=location)
        session.fetch_token()
        assert elsewhere.token_requests == elsewhere.api_requests == [*session.cookies] == []


# -- answers -----------------------------------------------------------------------------------------------------------

Row = tuple[int, Any, type[TokenRequestError], str | None]  # status, body, the error, its code

ROWS: list[Row] = [(status, None, AuthorizationServerError, None) for status in (408, 425, 429, 500, 502, 503, 599)]
ROWS += [(status, GOOD, TokenRequestError, None) for status in (201, 204, 206, 302, 304, 400, 403, 404, 405)]
ROWS += [(401, {"error": code}, InvalidClientError, code) for code in ("unauthorized_client", "access_denied")]
ROWS += [(400, {"error": "invalid_client"}, InvalidClientError, "invalid_client")]
ROWS += [(400, {"error": "invalid_scope"}, TokenRequestError, "invalid_scope")]
ROWS += [(200, {"error": "invalid_request", **GOOD}, TokenRequestError, "invalid_request")]
ROWS += [(401, "<html>", TokenRequestError, None), (200, b"\x1f\x8b gzip", TokenRequestError, None)]
ROWS += [(200, body, TokenRequestError, None) for body in ("", "<html>", "null", "[]", '"abc"', "[" * 100_000)]
TOKENS = None, "", 1, "a\nb", " a", "ü", []
ROWS += [(200, {**GOOD, "access_token": token}, TokenRequestError, None) for token in TOKENS]
ROWS += [(200, {**GOOD, "token_type": kind}, TokenRequestError, None) for kind in ("mac", "", 1, None)]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: ascii(row)[:60])
def test_an_answer_without_a_token(sandbox: Sandbox, session: GopacsSession, pauses: list[float], row: Row) -> None:
    """What may pass is tried three times, all else once; the error says what came, and no request goes without."""
    status, body, kind, code = row
    sandbox.answer_next_token_requests(math.inf, status, body=body)
    with pytest.raises(TokenRequestError, match=str(status)) as failure:
        session.get(sandbox.api_url)
    assert (type(failure.value), failure.value.status_code, failure.value.error) == (kind, status, code)
    assert len(sandbox.token_requests) == len(pauses) + 1 == (3 if kind is AuthorizationServerError else 1)
    assert sandbox.api_requests == []


MANUAL = {"token_type": "bearer", "expires_in": "300", "refresh_token": "x", "session_state": "y"}
ODD_BUT_GOOD = [{}, MANUAL, {"token_type": "BEARER", "error": None, "scope": "others"}, {"nested": [[]], "object": {}}]


@pytest.mark.parametrize("answer", ODD_BUT_GOOD)
def test_answers_that_are_good_enough(sandbox: Sandbox, session: GopacsSession, answer: dict[str, Any]) -> None:
    """Bearer is spelled in any case, a missing life is no fault, and of the answer only plain values are kept."""
    sandbox.answer_next_token_requests(1, 200, body={"access_token": "abc", **answer})
    assert session.get(sandbox.api_url).status_code == 200
    plain = {name for name, value in answer.items() if not isinstance(value, (list, dict))}
    assert session.token.keys() == plain | {"access_token", "expires_in", "expires_at"}


def test_an_answer_nested_900_deep_leaves_a_session_that_pickles(sandbox: Sandbox, session: GopacsSession) -> None:
    """However deep its lists are, a token answer is no reason why a session can't be pickled."""
    body = TOKEN[:-1] + b',"nested":' + b"[" * 900 + b"]" * 900 + b"}"
    sandbox.answer_next_token_requests(1, 200, body=body)
    session.fetch_token()
    assert pickle.loads(pickle.dumps(session)).access_token == "abc"


def test_an_answer_that_an_adapter_makes_up() -> None:
    """An adapter that connects to nothing can bring a token, or nothing at all."""
    with GopacsSession("c", "s") as session:
        session.mount("https://", Offline(200, TOKEN))
        assert session.fetch_token()["access_token"] == "abc"
        session.mount("https://", Offline(200, False))  # type: ignore[arg-type]  # as requests marks an unread body
        with pytest.raises(TokenRequestError, match="without a usable bearer token"):
            session.fetch_token()


PAST = "Wed, 21 Oct 2015 07:28:00 GMT"
PAUSES = {"": [0.5, 1], "0": [0.5, 1], "-1": [0.5, 1], PAST: [0.5, 1], "soon": [0.5, 1], "2": [2, 2], "5": [5, 5]}


@pytest.mark.parametrize("retry_after", PAUSES)
def test_no_try_comes_sooner_than_the_backoff(
    sandbox: Sandbox, session: GopacsSession, pauses: list[float], monkeypatch: pytest.MonkeyPatch, retry_after: str
) -> None:
    """A pause is the backoff, or what the server asks for if that is longer; of a backoff chance takes up to half."""
    for share in 1, 0.5:
        monkeypatch.setattr("random.uniform", lambda least, most, share=share: most if share == 1 else least)
        sandbox.answer_next_token_requests(3, 503, headers={"Retry-After": retry_after})
        with pytest.raises(AuthorizationServerError) as failure:
            session.fetch_token()
        assert (failure.value.retry_after or 0) >= 0
        assert pauses == [pause * share if pause <= 1 else pause for pause in PAUSES[retry_after]]
        pauses.clear()


@pytest.mark.parametrize("zone", [None, "GMT", "+0900"])
@pytest.mark.parametrize("seconds, tries", [(5, 3), (6, 1), (3600, 1)])
def test_a_long_retry_after_is_not_waited_for(
    sandbox: Sandbox,
    session: GopacsSession,
    clock: Clock,
    pauses: list[float],
    seconds: int,
    tries: int,
    zone: str | None,
) -> None:
    """More than 5 s, as a number or a date in UTC, is for the caller to wait, whom the error tells how long."""
    asked = formatdate(clock.wall + seconds, usegmt=True).replace("GMT", zone) if zone else str(seconds)
    sandbox.answer_next_token_requests(3, 429, headers={"Retry-After": asked})
    with pytest.raises(AuthorizationServerError, match=f"It asks to wait {seconds} s") as failure:
        session.get(sandbox.api_url)
    assert failure.value.retry_after == seconds
    assert len(sandbox.token_requests) == tries


HINTS = [
    ({"client_secret": " x"}, "The secret has white space at its beginning."),
    ({"client_secret": "x\t"}, "The secret has white space at its end."),
    ({"client_id": "x y"}, "The client id has white space inside it."),
    ({"client_secret": "wrong"}, "belong to this environment."),
]


@pytest.mark.parametrize("wrong, hint", HINTS)
def test_white_space_in_refused_credentials_is_told(sandbox: Sandbox, wrong: dict[str, str], hint: str) -> None:
    """A secret or a client id that was not copied as it is looks wrong, and the error says where."""
    with sandbox.session(**wrong) as session, pytest.raises(InvalidClientError) as refusal:
        session.get(sandbox.api_url)
    assert str(refusal.value).endswith(hint)


# -- broken connections ------------------------------------------------------------------------------------------------


def ask(authority: Authority, server: RawServer, **options: Any) -> dict[str, Any]:
    with GopacsSession("client", "s3cret", server.environment, **options) as session:
        session.verify = authority.ca_file
        return session.fetch_token()


BROKEN = {
    "RemoteDisconnected": raw(b""),
    "BadStatusLine": raw(TOKEN),  # An answer without a status line: its words are the token's.
    "IncompleteRead": raw(http(TOKEN, "Content-Length: 999")),
}


@pytest.mark.parametrize("word", BROKEN)
def test_a_broken_answer_is_not_quoted(
    authority: Authority, pauses: list[float], caplog: pytest.LogCaptureFixture, word: str
) -> None:
    """Of a connection error the class and the system's words are told, and nothing that the server sent."""
    with authority.server(BROKEN[word]) as server:
        with pytest.raises(AuthorizationServerError, match=rf"out of reach \(.*{word}") as failure:
            ask(authority, server)
        assert len(server.requests) == 3
    assert "Try 3 of 3" in caplog.text
    assert "abc" not in f"{failure.value}{caplog.text}"


def test_an_answer_has_a_megabyte(authority: Authority, pauses: list[float]) -> None:
    """Whatever its parts, a megabyte is read, and of an answer with more not much more."""
    spaces = [b" " * 65536] * 15
    whole = [*spaces, *(bytes([byte]) for byte in TOKEN), b" " * (65536 - len(TOKEN))]
    with authority.server(chunked(whole), chunked([*whole, b" "]), chunked(spaces * 100)) as server:
        assert ask(authority, server)["access_token"] == "abc"
        for _ in range(2):
            with pytest.raises(TokenRequestError, match="without a usable bearer token"):
                ask(authority, server)
        assert server.sent < 50 << 20
    assert pauses == []


def test_an_answer_that_drips_is_given_up(authority: Authority, pauses: list[float]) -> None:
    """An answer has its time in all, however often another byte of it comes."""

    def drip(_: bytes) -> Iterator[bytes]:
        yield http(b"", "Transfer-Encoding: chunked")
        while True:
            yield b"1\r\n \r\n"

    with authority.server(drip) as server, pytest.raises(AuthorizationServerError, match=r"out of reach \(.*Timeout"):
        ask(authority, server, token_timeout=(30, 0.2))
    assert len(pauses) == 2
