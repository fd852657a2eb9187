"""Neither the secret nor a token shows in a log, an error, a repr, or what hangs on them."""

from __future__ import annotations

import base64
import html
import json
import logging
import pickle
import pprint
import signal
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import product
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus, unquote, unquote_plus

import pytest
import requests
from oauthlib.oauth2 import InsecureTransportError
from requests.adapters import HTTPAdapter
from servers import Authority, RawServer, chunked, http, proxying, raw
from support import Clock

from gopacs_session import (
    ConfigurationError,
    Environment,
    GopacsAuth,
    GopacsSession,
    TokenRequestError,
    WrongEnvironmentError,
)
from gopacs_session.sandbox import Sandbox

SECRET = "s3cr+t/of%the&client=\u00fc\u20ac 'and' \"more\""


FORMS = {
    *(SECRET, json.dumps(SECRET)[1:-1], ascii(SECRET)[1:-1], repr(SECRET)[1:-1], repr(SECRET.encode())[2:-1]),
    base64.b64encode(SECRET.encode()).decode(),
    "".join(filter(str.isprintable, SECRET.encode().decode("latin-1"))),
}


class Spoils:
    """What must never show, and everything that was seen.

    Attributes:
        tokens: all that were ever issued.
        log: each record in every rendering that a handler may choose.
        errors: all that callers got.
    """

    def __init__(self) -> None:
        self.tokens: set[str] = {"the-token-of-a-hostile-server"}
        self.log: list[str] = []
        self.errors: list[BaseException] = []

    def in_text(self, text: str) -> list[str]:
        """What shows in `text`, as it is or once it is decoded, or once its unprintable characters are gone."""
        readings = {text, unquote(text), unquote_plus(text), html.unescape(text)}
        readings |= {"".join(filter(str.isprintable, reading)) for reading in readings}
        return [form for form in FORMS | self.tokens if any(form in reading for reading in readings)]

    @contextmanager
    def failing(self, kind: type[BaseException] = TokenRequestError) -> Iterator[None]:
        """Something that must fail, whose error is kept."""
        with pytest.raises(kind) as failure:
            yield
        self.errors.append(failure.value)

    def assert_clean(self) -> None:
        for text in self.log:
            assert self.in_text(text) == [], text
        for error in self.errors:
            assert_error_is_clean(error, self.in_text)


class Catcher(logging.Handler):
    """Keeps each record of every logger at every level."""

    def __init__(self, log: list[str]) -> None:
        super().__init__(level=1)
        self.log = log

    def emit(self, record: logging.LogRecord) -> None:
        text = logging.Formatter("%(message)s").format(record)
        self.log.append(" ".join([record.name, text, *(f"{value!s} {value!r}" for value in vars(record).values())]))


@pytest.fixture
def spoils() -> Iterator[Spoils]:
    """Every logger at level 1, with a handler at the root."""
    spoils = Spoils()
    catcher = Catcher(spoils.log)
    names = ["", "gopacs_session", "requests_oauthlib", "oauthlib", "urllib3", *logging.root.manager.loggerDict]
    loggers = [logging.getLogger(name) for name in names]
    levels = [(logger, logger.level, logger.disabled) for logger in loggers]
    logging.root.addHandler(catcher)
    for logger in loggers:
        logger.setLevel(1)
        logger.disabled = False
    yield spoils
    for logger, level, disabled in levels:
        logger.setLevel(level)
        logger.disabled = disabled
    logging.root.removeHandler(catcher)


@pytest.fixture
def vault() -> Iterator[Sandbox]:
    with Sandbox(client_secret=SECRET) as vault:
        yield vault


def reachable(error: BaseException) -> Iterator[Any]:
    """The error and all that hangs on it, but for the frames of its traceback."""
    seen: set[int] = set()
    waiting: list[Any] = [error]
    while waiting:
        thing = waiting.pop()
        if id(thing) in seen or isinstance(thing, (type, type(logging), type(reachable))):
            continue
        seen.add(id(thing))
        yield thing
        if isinstance(thing, BaseException):
            waiting += [*thing.args, thing.__cause__, thing.__context__]
        if isinstance(thing, dict):
            waiting += [*thing.keys(), *thing.values()]
        if isinstance(thing, (list, tuple, set, frozenset)):
            waiting += thing
        waiting += getattr(thing, "__dict__", {}).values()


def variables(error: BaseException) -> list[str]:
    """The local variables that traceback tools show for an error and all behind it, but for those of the tests."""
    errors, shown = [error], []
    for one in errors:  # which grows
        frames = (frame for frame, _ in traceback.walk_tb(one.__traceback__))
        shown += [repr(frame.f_locals) for frame in frames if not frame.f_code.co_name.startswith("test_")]
        behind = (one.__cause__, one.__context__, *getattr(one, "exceptions", ()))
        errors += [other for other in behind if other is not None and other not in errors]
    return shown


def assert_error_is_clean(error: BaseException, spoils: Callable[[str], list[str]]) -> None:
    shown = [
        str(error),
        repr(error),
        repr(vars(error)),
        pprint.pformat(vars(error)),
        *traceback.format_exception(error),
    ]
    if isinstance(error, TokenRequestError):
        shown += variables(error)
        for thing in reachable(error):
            shown += [repr(thing), str(thing)]
        shown.append(pickle.dumps(error, 0).decode("latin-1"))
    for text in shown:
        assert spoils(text) == [], text


def test_the_log_tells_of_each_token(vault: Sandbox, spoils: Spoils) -> None:
    """At DEBUG the log says for which environment and client a token was obtained, how long it lives and took."""
    with vault.session() as session:
        session.fetch_token()
    [text] = [text for text in spoils.log if text.startswith("gopacs_session ")]
    for word in "DEBUG", "environment sandbox", "client_id sandbox", "life 300 s", "in 0.":
        assert word in text


@pytest.mark.usefixtures("pauses")
def test_the_log_tells_of_each_retry(vault: Sandbox, spoils: Spoils) -> None:
    """At WARNING the log says why a token request is tried again, and how soon."""
    vault.answer_next_token_requests(2, 503)
    with vault.session() as session:
        session.fetch_token()
    warnings = [text for text in spoils.log if text.startswith("gopacs_session ") and "WARNING" in text]
    assert len(warnings) == 2
    for number, text in enumerate(warnings, start=2):
        assert "sandbox" in text
        assert "503" in text
        assert f"Try {number} of 3" in text


@pytest.mark.usefixtures("pauses")
def test_the_whole_life_with_every_logger_at_level_1(
    vault: Sandbox, spoils: Spoils, clock: Clock, capfd: pytest.CaptureFixture[str]
) -> None:
    """Through fetch, renewal, 401, refusal, outage and nonsense no log and no error shows the secret or a token."""

    def updated(token: dict[str, Any]) -> None:
        spoils.tokens.update({token["access_token"], token.get("refresh_token", token["access_token"])})
        raise RuntimeError(f"The disk is full: {token} {SECRET}")

    api = f"{vault.api_url}/participants"
    vault.refresh_tokens = True
    with vault.session(token_updater=updated) as session:
        session.get(api)
        session.post(api, json={"a": 1}, stream=True).close()
        clock.advance(300)
        session.get(api)
        session.fetch_token()
        vault.revoke_tokens()
        session.get(api)
        vault.answer_next_api_requests(2, 401)
        session.get(api)
        vault.answer_next_api_requests(1, 302, headers={"Location": "/elsewhere"})
        session.get(api)
        with session.ensure_authenticated():
            assert session.auth_header
        vault.answer_next_api_requests(1, 500)
        with spoils.failing(requests.HTTPError):
            session.get(api).raise_for_status()
        with spoils.failing(WrongEnvironmentError):
            session.get("https://api.gopacs-services.eu/", headers=session.auth_header)
        with spoils.failing(InsecureTransportError):
            session.get(api.replace("https", "http"), headers=session.auth_header)

        clock.advance(300)
        for status, body in [(429, None), (503, None), (400, {"error": "invalid_scope"}), (200, "<html>"), (200, "[]")]:
            vault.answer_next_token_requests(3, status, body=body)
            with spoils.failing():
                session.get(api)
            vault.answer_next_token_requests(0, 200)
        answer = {"access_token": "the-token-of-a-hostile-server", "token_type": "mac"}
        vault.answer_next_token_requests(1, 200, body=answer)
        vault.answer_next_token_requests(1, 400, body=answer)
        vault.answer_next_token_requests(1, 307, body=answer, headers={"Location": "https://localhost:1/"})
        for _ in range(3):
            with spoils.failing():
                session.get(api)
        session.token_timeout = (10, 0.05)
        with vault.hold_token_requests(), spoils.failing():
            session.get(api)
        session.token_timeout = 10
        vault.client_enabled = False
        with spoils.failing():
            session.get(api)
        vault.client_enabled = True
        vault.client_secret = "rotated"
        with spoils.failing():
            session.get(api)
        session.close()
    assert len(spoils.tokens) == 1 + 2 * 5
    assert all(str(exchange.authorization)[7:] in spoils.tokens for exchange in vault.api_requests)
    names = {text.partition(" ")[0] for text in spoils.log}
    assert {"gopacs_session", "urllib3.connectionpool"} <= names
    assert sum("token_updater raised RuntimeError" in text for text in spoils.log) == 5
    spoils.assert_clean()
    assert capfd.readouterr() == ("", "")


def test_a_background_renewal_shows_nothing(vault: Sandbox, spoils: Spoils, clock: Clock, pauses: list[float]) -> None:
    """A renewal that fails behind the requests leaves no secret and no token in the log."""
    with vault.session(token_updater=lambda token: spoils.tokens.add(token["access_token"])) as session:
        session.get(vault.api_url)
        clock.advance(250)
        echo = {"error": "invalid_request", "error_description": SECRET}
        vault.answer_next_token_requests(1, 400, body=echo)
        session.get(vault.api_url)
        vault.wait_for_token_requests(2)
        with spoils.failing():  # Waits for the renewal in flight, if there still is one.
            vault.answer_next_token_requests(1, 400, body=echo)
            session.fetch_token()
    assert sum("before it expires" in text for text in spoils.log) <= 1
    spoils.assert_clean()


ECHOES: dict[str, Callable[[str], str]] = {
    "raw": str,
    "form-encoded": quote_plus,
    "percent-encoded": lambda secret: quote(secret, safe=""),
    "percent-encoded but for slashes": quote,
    "percent-encoded in lower case": lambda secret: quote(secret, safe="").replace("%2B", "%2b").replace("%2F", "%2f"),
    "form-encoded in lower case": lambda secret: quote_plus(secret).replace("%2B", "%2b").replace("%2F", "%2f"),
    "in the whole form": lambda secret: f"grant_type=client_credentials&client_secret={quote_plus(secret)}&client_id=x",
    "in capitals around": lambda secret: f"CLIENT_SECRET={secret}!",
    "many times": lambda secret: secret * 10,
    "after much else": lambda secret: "x" * 190 + secret,
    "after what is not printable": lambda secret: "\x00" * 300 + secret,
    "with a NUL in it": lambda secret: secret[:5] + "\x00" + secret[5:],
    "with a soft hyphen in it": lambda secret: "\u00ad".join(secret),
    "with line ends in it": lambda secret: "\r\n".join(secret),
    "as a JSON string": json.dumps,
    "in a repr": repr,
    "in a repr of bytes": lambda secret: repr(secret.encode()),
    "in bytes that were taken for Latin-1": lambda secret: secret.encode().decode("latin-1"),
    "in HTML": html.escape,
    "in HTML, by numbers": lambda secret: html.escape(secret).replace("&#x27;", "&#39;").replace("&quot;", "&#34;"),
    "in HTML, by names": lambda secret: html.escape(secret).replace("&#x27;", "&apos;"),
    "in HTML, but for its quotes": lambda secret: html.escape(secret, quote=False),
}


@pytest.mark.usefixtures("pauses")
@pytest.mark.parametrize("kind", ECHOES)
def test_a_server_that_echoes_the_secret(vault: Sandbox, spoils: Spoils, kind: str) -> None:
    """An echo of the secret in the server's words, in whatever encoding, reaches neither the error nor the log."""
    echo = ECHOES[kind](SECRET)
    for status, key in product([200, 302, 400, 401, 503], ["error", "error_description"]):
        answer = {"error": "invalid_client", key: echo}
        vault.answer_next_token_requests(3, status, body=answer, headers={"Retry-After": quote_plus(SECRET)})
        with vault.session() as session, spoils.failing():
            session.get(vault.api_url)
        vault.answer_next_token_requests(0, 200)
    spoils.assert_clean()


@pytest.mark.parametrize("secret", ["key&", "key\\", "key'", "key ", "<key>", "\u20ackey", "\x01\u20ac\x02"])
@pytest.mark.parametrize(
    "encode",
    [
        quote,
        quote_plus,
        html.escape,
        lambda secret: json.dumps(secret)[1:-1],
        lambda secret: repr(secret)[1:-1],
        lambda secret: repr(secret.encode())[2:-1],
    ],
    ids=["quote", "quote_plus", "HTML", "JSON", "repr", "bytes"],
)
def test_nothing_is_left_of_an_echo(vault: Sandbox, secret: str, encode: Callable[[str], str]) -> None:
    """An echo goes as a whole, also where it begins like another form of the secret."""
    answer = {"error": "invalid_client", "error_description": encode(secret)}
    vault.answer_next_token_requests(1, 401, body=answer)
    with vault.session(client_secret=secret) as session, pytest.raises(TokenRequestError) as refusal:
        session.fetch_token()
    assert str(refusal.value.description).strip() == "***"


def test_a_secret_that_nobody_sees_leaves_the_servers_words(vault: Sandbox) -> None:
    """Of a secret without a printable character there is no echo that would have to go."""
    vault.answer_next_token_requests(1, 401, body={"error": "invalid_client", "error_description": "Who is that?"})
    with vault.session(client_secret="\x01") as session, pytest.raises(TokenRequestError) as refusal:
        session.fetch_token()
    assert refusal.value.description == "Who is that?"


FORM = quote_plus(SECRET)
RAW_ECHOES = {
    "instead of a status line": raw(f"FOO {SECRET}\r\n\r\n".encode()),
    "instead of the size of a chunk": raw(http(f"{SECRET}\r\n".encode(), "Transfer-Encoding: chunked")),
    "a status line": raw(f"HTTP/1.1 {FORM} OK\r\n\r\n".encode()),
    "another protocol": raw(f"client_secret={FORM}\r\n\r\n".encode()),
    "the reason": raw(http(b"", status=f"503 {FORM}")),
    "a header": raw(http(b"", f"{FORM}: {FORM}", "Content-Length: 0", status="503 No")),
    "the length": raw(http(b"", f"Content-Length: {FORM}")),
    "two lengths": raw(http(b"", f"Content-Length: 1, 2{FORM}")),
    "the content encoding": raw(http(b"x", f"Content-Encoding: {FORM}", "Content-Length: 1")),
    "the transfer encoding": raw(http(b"x", f"Transfer-Encoding: {FORM}")),
    "the content type": raw(http(b"x", f"Content-Type: text/{FORM}; charset={FORM}", "Content-Length: 1")),
    "the size of a chunk": raw(http(f"{FORM}\r\n".encode(), "Transfer-Encoding: chunked")),
    "the location": raw(http(b"", f"Location: https://{FORM}:{FORM}/{FORM}", status="307 Moved")),
    "a cookie": raw(http(b"", f"Set-Cookie: {FORM}={FORM}; expires={FORM}", "Content-Length: 0")),
    "the body": raw(http(FORM.encode())),
    "a chunked body": chunked([FORM.encode()]),
    "the body of a 503": raw(http(FORM.encode(), status="503 No")),
}


@pytest.mark.usefixtures("pauses")
@pytest.mark.parametrize("kind", RAW_ECHOES)
def test_a_server_that_echoes_the_secret_where_no_text_belongs(authority: Authority, spoils: Spoils, kind: str) -> None:
    """An echo of the secret in a status line, a header or a chunk reaches neither the error nor the log."""
    with authority.server(RAW_ECHOES[kind]) as server, client_of(server, authority) as session, spoils.failing():
        session.fetch_token()
    spoils.assert_clean()


@pytest.mark.xfail(strict=True, reason="urllib3 logs, at WARNING and with its traceback, what it takes for no header")
@pytest.mark.usefixtures("pauses")
def test_a_server_that_echoes_the_secret_as_a_malformed_header(authority: Authority, spoils: Spoils) -> None:
    """An echo of the secret among the headers, that isn't a header, does not reach the log."""
    answer = raw(f"HTTP/1.1 503 No\r\nX: x\r\n{FORM}\r\n\r\n".encode())
    with authority.server(answer) as server, client_of(server, authority) as session, spoils.failing():
        session.fetch_token()
    spoils.assert_clean()


def client_of(server: RawServer, authority: Authority) -> GopacsSession:
    session = GopacsSession("client", SECRET, server.environment)
    session.verify = authority.ca_file
    return session


class Talkative(HTTPAdapter):
    """A user's adapter that fails, and tells what it was to send."""

    def __init__(self, kind: type[Exception]) -> None:
        super().__init__()
        self.kind = kind

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        try:
            raise ValueError(request.body)
        except ValueError as error:
            raise self.kind(f"Not sent: {request.body!r}", request) from error


TALKATIVE: list[type[Exception]] = [ValueError, TypeError, KeyError, RuntimeError, UnicodeError, Exception]
OSERRORS = [OSError, requests.ConnectionError, requests.RequestException, requests.exceptions.InvalidSchema]


@pytest.mark.usefixtures("pauses")
@pytest.mark.parametrize("kind", [*TALKATIVE, *OSERRORS])
def test_an_adapter_that_tells_the_form(vault: Sandbox, spoils: Spoils, kind: type[Exception]) -> None:
    """Whatever a mounted adapter raises is a TokenRequestError, on which neither its text nor the request hangs."""
    with vault.session() as session, spoils.failing():
        session.mount(vault.api_url, Talkative(kind))
        session.mount(f"{vault.api_url}/", Talkative(kind))
        session.fetch_token()
    assert kind.__name__ in str(spoils.errors[0])
    spoils.assert_clean()


class Unspeakable(OSError):
    def __str__(self) -> str:
        raise ValueError("no words")


@pytest.mark.usefixtures("pauses")
def test_an_adapter_whose_error_has_no_words(vault: Sandbox, spoils: Spoils) -> None:
    """An exception that cannot be printed is a TokenRequestError that tells its type, and nothing hangs on it."""

    class Failing(HTTPAdapter):
        def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
            raise requests.ConnectionError(Unspeakable(), request=request)

    with vault.session() as session, spoils.failing():
        session.mount(f"{vault.api_url}/", Failing())
        session.fetch_token()
    assert "ConnectionError" in str(spoils.errors[0])
    spoils.assert_clean()


@pytest.mark.parametrize("secret", [f"{SECRET}\ud800", None, SECRET.encode()], ids=["surrogate", "None", "bytes"])
def test_a_secret_that_cannot_be_sent(vault: Sandbox, spoils: Spoils, secret: Any) -> None:
    """A secret that no form can hold is an error without it."""
    with vault.session(client_secret=lambda: secret) as session, spoils.failing():
        session.get(vault.api_url)
    assert vault.token_requests == []
    spoils.assert_clean()


@pytest.mark.parametrize("kind", [ValueError, KeyError, requests.ConnectionError, TokenRequestError])
def test_a_callable_that_tells_the_secret(vault: Sandbox, spoils: Spoils, kind: type[Exception]) -> None:
    """What a failing client_secret callable says is not repeated."""

    def secret() -> str:
        raise kind(SECRET)

    with vault.session(client_secret=secret) as session, spoils.failing():
        session.get(vault.api_url)
    spoils.assert_clean()


class Interrupt(BaseException):
    """What a signal handler or a framework raises to end a request."""


def fail(error: BaseException, body: object) -> None:
    """Raise, with a form in a variable."""
    raise error


class Interrupted(HTTPAdapter):
    """A user's adapter that is interrupted again and again, and ends in a circle of all that, one in a group."""

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        first, group, last = Interrupt(), Grouped(), Interrupt()
        for error in (first, group):
            with suppress(BaseException):
                fail(error, request.body)
        group.exceptions, group.__cause__ = (first,), last
        try:
            fail(Interrupt(), request.body)
        except Interrupt:
            raise last from group


class Grouped(BaseException):
    """Like an ExceptionGroup, which Python 3.10 has not."""

    exceptions: tuple[BaseException, ...]


SECRETS: list[Any] = [SECRET, lambda: SECRET]


@pytest.mark.parametrize("secret", SECRETS, ids=["string", "callable"])
def test_an_interrupted_adapter_leaves_no_form(vault: Sandbox, spoils: Spoils, secret: Any) -> None:
    """No frame of whatever ends a token request, or is behind that, holds the secret in its variables."""
    with vault.session(client_secret=secret) as session:
        session.mount(f"{vault.api_url}/", Interrupted())
        with spoils.failing(Interrupt):
            session.get(vault.api_url)
    assert spoils.in_text("".join(variables(spoils.errors[0]))) == []


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="needs a signal for one thread")
@pytest.mark.parametrize("secret", SECRETS, ids=["string", "callable"])
def test_ctrl_c_in_mid_token_request_leaves_no_form(vault: Sandbox, spoils: Spoils, secret: Any) -> None:
    """No frame that a KeyboardInterrupt went through holds the secret in its variables."""

    def interrupt() -> None:
        vault.wait_for_token_requests(1)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    interrupter = threading.Thread(target=interrupt)
    interrupter.start()
    with (
        vault.session(client_secret=secret) as session,
        vault.hold_token_requests(),
        spoils.failing(KeyboardInterrupt),
    ):
        session.get(vault.api_url)
    interrupter.join()
    assert spoils.in_text("".join(variables(spoils.errors[0]))) == []


def test_the_callers_own_variables_stay(vault: Sandbox) -> None:
    """What a caller was handling keeps its variables, and a generator that an old error went through goes on."""

    def fail() -> None:
        own = "the caller's"
        raise ValueError(own)

    def pages() -> Iterator[str]:
        try:
            raise Interrupt
        except Interrupt as error:
            kept.append(error)
        yield "first"
        yield "second"

    class Keeping(HTTPAdapter):
        def send(self, *args: Any, **kwargs: Any) -> requests.Response:
            raise kept[0]

    kept: list[Interrupt] = []
    book = pages()
    assert next(book) == "first"
    with vault.session() as session:
        session.mount(f"{vault.api_url}/", Keeping())
        try:
            fail()
        except ValueError as error:
            with pytest.raises(Interrupt):
                session.get(vault.api_url)
            shown = variables(error)
    assert "the caller's" in "".join(shown)
    assert next(book) == "second"


def test_what_ends_a_renewal_leaves_no_token(vault: Sandbox, spoils: Spoils) -> None:
    """A log handler that raises, a token_updater that exits, and a refused renewal leave no token in a frame."""

    def leave(token: dict[str, Any]) -> None:
        del token  # Its own variables are its own affair.
        raise SystemExit

    def raising(_: logging.LogRecord) -> bool:
        raise RuntimeError

    log = logging.getLogger("gopacs_session")
    with vault.session() as session:
        log.addFilter(raising)
        with spoils.failing(RuntimeError):
            session.get(vault.api_url)
        log.removeFilter(raising)
        spoils.tokens.add(session.token["access_token"])
        session.token_updater = leave
        with spoils.failing(SystemExit):
            session.fetch_token()
        spoils.tokens.add(session.token["access_token"])
        vault.revoke_tokens()
        vault.client_enabled = False
        with spoils.failing():
            session.fetch_token()
        with spoils.failing():
            session.get(vault.api_url)
    for error in spoils.errors:
        assert spoils.in_text("".join(variables(error))) == []


def test_a_body_that_breaks_off_leaves_no_token(vault: Sandbox, spoils: Spoils) -> None:
    """When a body fails in mid request, no frame of requests, urllib3 or http.client holds the token."""

    def body() -> Iterator[bytes]:
        yield b"<mess"
        raise RuntimeError

    with vault.session() as session:
        spoils.tokens.add(session.fetch_token()["access_token"])
        with spoils.failing(RuntimeError):
            session.post(vault.api_url, data=body())
    assert spoils.in_text("".join(variables(spoils.errors[0]))) == []


@pytest.mark.parametrize("make", [GopacsSession, GopacsAuth])
def test_a_failed_construction_leaves_no_secret(
    spoils: Spoils, monkeypatch: pytest.MonkeyPatch, make: type[GopacsSession | GopacsAuth]
) -> None:
    """No frame of an object that could not be made holds the secret that was given for it, in whichever place."""
    with spoils.failing(ConfigurationError):
        make("client", SECRET, "no environment")
    with spoils.failing(ConfigurationError):
        make("client", SECRET, scope=1)  # type: ignore[arg-type]
    with spoils.failing(ConfigurationError):
        make("acceptance", "client", SECRET)
    monkeypatch.setenv("GOPACS_CLIENT_ID", "client")
    monkeypatch.setenv("GOPACS_CLIENT_SECRET", SECRET)
    monkeypatch.setenv("GOPACS_ENVIRONMENT", "no environment")
    with spoils.failing(ConfigurationError):
        make.from_env()
    monkeypatch.delenv("GOPACS_ENVIRONMENT")
    with spoils.failing(ConfigurationError):
        make.from_env(leeway=-1)
    with spoils.failing(ConfigurationError):
        make.from_env({"GOPACS_CLIENT_ID": "client", "GOPACS_CLIENT_SECRET": SECRET}, leeway=-1)
    for error in spoils.errors:
        assert spoils.in_text("".join(variables(error))) == []


LOST: list[Callable[[Any], object]] = [
    lambda lost: GopacsSession("acceptance", "client", lost),
    lambda lost: GopacsSession("client", [lost]),  # type: ignore[arg-type]  # as all that follow are
    lambda lost: GopacsSession([lost], "the-secret"),
    lambda lost: GopacsSession("client", "the-secret", [lost]),
    lambda lost: GopacsSession("client", "the-secret", scope=[lost, 1]),
    lambda lost: GopacsSession("client", "the-secret", leeway=lost),
    lambda lost: GopacsSession("client", "the-secret", timeout=(lost, 1)),
    lambda lost: GopacsSession("client", "the-secret", token_timeout=lost),
    lambda lost: GopacsSession("client", "the-secret", token_updater=lost),
    lambda lost: GopacsAuth("acceptance", "client", lost),
    lambda lost: GopacsAuth("client", "the-secret", "acceptance", token_timeout=(1, 2, lost)),
    lambda lost: Environment(lost, "http://localhost/", ("localhost",)),
    lambda lost: Environment(lost, f"https://client:{lost}@localhost/", ("localhost",)),
    lambda lost: Environment("name", lost, ("localhost",)),
    lambda lost: Environment(lost, "https://localhost/", lost),
    lambda lost: Environment(lost, "https://localhost/", ("localhost", lost)),
    lambda lost: Environment(lost, "https://localhost/", ("localhost",), [lost]),
    lambda lost: setattr(GopacsSession("client", "the-secret"), "token", lost),
    lambda lost: setattr(GopacsSession("client", "the-secret"), "token", {"access_token": lost, "token_type": lost}),
    lambda lost: setattr(GopacsSession("client", "the-secret"), "access_token", f"{lost}\n"),
    lambda lost: setattr(GopacsSession("client", "the-secret"), "scope", 1),
    lambda lost: GopacsSession("client", "the-secret").fetch_token(refused=f"Basic {lost}"),
    lambda lost: GopacsSession.from_env({"GOPACS_CLIENT_ID": "x"}, environment=lost, client_secret="the-secret"),
    lambda lost: GopacsSession.from_env({"GOPACS_CLIENT_ID": "client", "GOPACS_ENVIRONMENT": lost}),
    lambda lost: GopacsSession.from_env({"GOPACS_CLIENT_ID": "client", "GOPACS_CLIENT_SECRET_FILE": lost}),
    lambda lost: GopacsAuth.from_env({"GOPACS_TOKEN_URL": lost, "GOPACS_API_DOMAINS": lost}),
]


@pytest.mark.parametrize("number", range(len(LOST)))
def test_a_secret_in_the_wrong_place_is_not_quoted(spoils: Spoils, number: int) -> None:
    """Whichever argument or variable a secret was given for by mistake, the error that says so does not show it."""
    with spoils.failing(ConfigurationError):
        LOST[number](SECRET)
    spoils.assert_clean()


@pytest.mark.usefixtures("pauses")
def test_the_credentials_of_a_proxy(vault: Sandbox, spoils: Spoils) -> None:
    """A proxy that is out of reach, or refuses, is told without the password that is in its URL."""
    with proxying() as proxy, GopacsSession("client", "own", vault.environment) as session:
        proxy.refusal = "407 Proxy Authentication Required"
        hosts = ("http://127.0.0.1:1", "http://127.0.0.1:port", "http://127.0.0.1:99999", "socks9://127.0.0.1:1")
        for url, password in product((proxy.url, *hosts), (quote(SECRET, safe=""), SECRET)):
            session.proxies = {"https": url.replace("//", f"//user:{password}@")}
            with spoils.failing():
                session.fetch_token()
    spoils.assert_clean()


def test_errors_of_the_api_show_no_token(vault: Sandbox, spoils: Spoils) -> None:
    """What requests raises for an API request that bore a token has it in no message, repr or traceback."""
    with vault.session() as session:
        spoils.tokens.add(session.fetch_token()["access_token"])
        vault.answer_next_api_requests(1, 302, headers={"Location": "https://localhost:1/"})
        with spoils.failing(requests.ConnectionError):
            session.get(vault.api_url)
        vault.answer_next_api_requests(9, 302, headers={"Location": "/again"})
        session.max_redirects = 2
        with spoils.failing(requests.TooManyRedirects):
            session.get(vault.api_url)
        with spoils.failing(requests.JSONDecodeError):
            session.head(vault.api_url).json()
        with spoils.failing(TypeError):
            session.get(vault.api_url, no_such_argument=1)
    for error in spoils.errors:
        if request := getattr(error, "request", None):
            assert spoils.in_text(f"{request} {request!r} {request.headers} {vars(request)}") == []
    spoils.assert_clean()


def test_a_session_shows_nothing(vault: Sandbox, spoils: Spoils) -> None:
    """The repr, str and vars of a session, cold and warm, hold neither secret nor token."""
    with vault.session(token_updater=lambda token: spoils.tokens.add(token["access_token"])) as session:
        for _ in range(2):
            shown = [repr(session), str(session), f"{session}", repr(vars(session)), pprint.pformat(vars(session))]
            assert spoils.in_text("\n".join(shown)) == []
            session.get(vault.api_url)
        assert len(spoils.tokens) == 2
        assert repr(session) == "<GopacsSession sandbox client_id='sandbox'>"


def test_a_response_shows_nothing(vault: Sandbox, spoils: Spoils) -> None:
    """A response, a replayed one and its history too, shows no token in its headers; pickled, it holds no secret."""
    with vault.session(token_updater=lambda token: spoils.tokens.add(token["access_token"])) as session:
        fresh = session.get(vault.api_url)
        vault.revoke_tokens()
        replayed = session.get(vault.api_url)
        vault.answer_next_api_requests(1, 302, headers={"Location": "/moved"})
        moved = session.get(vault.api_url)
    for response in [fresh, replayed, *replayed.history, moved, *moved.history]:
        request = response.request
        shown = [repr(request.headers), str(request.headers), repr(vars(request)), repr(vars(response)), repr(response)]
        assert spoils.in_text("\n".join(shown)) == []
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
            dump = pickle.dumps(response, protocol)
            assert not any(form.encode() in dump for form in FORMS)
            assert pickle.loads(dump).request.headers["Authorization"] == request.headers["Authorization"]


def test_what_a_session_writes_to_disk(vault: Sandbox, spoils: Spoils, tmp_path: Path) -> None:
    """A session leaves no file behind in its working directory."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        with vault.session() as session:
            session.get(vault.api_url)
    assert [path.name for path in tmp_path.iterdir()] == []
