"""Where a client secret or a token must not show: logs, reprs, messages, frames."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote_plus

import pytest
import requests
from servers import Authority, raw, reset

from gopacs_session import ConfigurationError, GopacsAuth, GopacsSession, InvalidClientError, TokenRequestError
from gopacs_session.sandbox import Sandbox

SECRET = "s3cr+t/of%the&client=ü"


@pytest.fixture
def vault() -> Iterator[Sandbox]:
    with Sandbox(client_secret=SECRET) as sandbox:
        yield sandbox


def shows(text: str, *tokens: str) -> bool:
    return any(word in text for word in (SECRET, quote_plus(SECRET), *tokens))


def test_a_whole_life_with_every_logger_at_its_lowest_level(
    vault: Sandbox, caplog: pytest.LogCaptureFixture, pauses: list[float]
) -> None:
    """Grant, retry, renewal, refusal, replay and outage leave lines, in which there is neither secret nor token."""
    for name in None, "requests_oauthlib", "oauthlib", "urllib3", "requests", "gopacs_session":
        caplog.set_level(1, name)
    tokens: list[str] = []
    with vault.session(token_updater=lambda token: tokens.append(token["access_token"])) as session:
        vault.answer_next_token_requests(1, 503)
        session.get(f"{vault.api_url}/x", params={"q": "1"})
        vault.revoke_tokens()
        session.post(f"{vault.api_url}/x", data="<message/>")
        vault.answer_next_api_requests(2, 401)
        session.get(vault.api_url)
        session.fetch_token()
        vault.client_secret = "another"
        with pytest.raises(InvalidClientError):
            session.fetch_token()
    assert (len(tokens), len(pauses)) == (4, 1)
    for line in "answered 503; try again later. Try 2 of 3 in", "Token for sandbox obtained", "refused a token":
        assert line in caplog.text
    assert not shows(caplog.text, *tokens)


def test_no_repr_shows_them(vault: Sandbox) -> None:
    """Session, request, headers, and what hangs on them, can be printed."""
    with vault.session() as session:
        answer = session.get(vault.api_url)
        things: list[Any] = [session, session.auth_header, answer.request, answer.request.headers, answer.request.hooks]
        things += [session.auth_header.copy(), vars(session), vars(answer.request)]  # type: ignore[attr-defined]
        token = str(session.access_token)
        assert answer.request.headers["Authorization"] == f"Bearer {token}"
        assert not [thing for thing in things if shows(f"{thing!r} {thing}", token)]


@pytest.mark.parametrize("form", [str, quote_plus, str.upper])
def test_an_echo_of_the_secret_is_masked(vault: Sandbox, form: Any) -> None:
    """What the authorization server says of a refusal is quoted without the secret, as it is or as it was sent."""
    echo = {"error": "invalid_client", "error_description": f"no \x1b client\n has {form(SECRET)}!" + "x" * 999}
    vault.answer_next_token_requests(1, 401, body=echo)
    with vault.session() as session, pytest.raises(InvalidClientError) as refusal:
        session.get(vault.api_url)
    assert str(refusal.value.description).startswith("no  client has ***!")
    assert len(str(refusal.value.description)) == 200
    assert not shows(f"{refusal.value!r} {vars(refusal.value)}")


WRONG_PLACES = [
    lambda lost: GopacsSession(lost, ""),
    lambda lost: GopacsSession("client", "other", lost),
    lambda lost: GopacsSession("client", "other", leeway=lost),
    lambda lost: setattr(GopacsSession("client", "other"), "token", {"access_token": f"{lost}\n"}),
    lambda lost: GopacsSession.from_env({"GOPACS_CLIENT_ID": "client", "GOPACS_ENVIRONMENT": lost}),
    lambda lost: GopacsSession.from_env({"GOPACS_CLIENT_ID": "client", "GOPACS_CLIENT_SECRET_FILE": lost}),
    lambda lost: GopacsAuth.from_env({"GOPACS_TOKEN_URL": lost, "GOPACS_API_DOMAINS": lost}),
]


@pytest.mark.parametrize("use", WRONG_PLACES)
def test_a_secret_in_the_wrong_place_is_not_quoted(use: Callable[[str], object]) -> None:
    """Whichever argument or variable a secret was given for by mistake, the error that says so does not show it."""
    with pytest.raises(ConfigurationError) as error:
        use(SECRET)
    assert not shows(f"{error.value!r} {error.value}")


def test_a_failed_token_request_refers_to_no_form(vault: Sandbox, pauses: list[float]) -> None:
    """An error of the network is not the context of the error that a caller gets: its frames have the form."""
    with vault.session() as session:
        session.proxies = {"https": "http://127.0.0.1:1"}
        with pytest.raises(TokenRequestError) as error:
            session.get(vault.api_url)
    assert error.value.__context__ is error.value.__cause__ is error.value.request is None
    assert not shows("".join(traceback.format_exception(error.value)))


def unreadable() -> Iterator[bytes]:
    yield b"<message/>"
    raise OSError


@pytest.mark.parametrize("body", [lambda: None, lambda: b"<message/>" * 1000, unreadable])
def test_frames_of_an_api_request_that_fails_show_no_token(authority: Authority, body: Callable[[], Any]) -> None:
    """The local variables of requests and urllib3 show none when the connection, or the body, breaks off."""
    for answer in reset, raw(b""):
        with authority.server(answer) as server, GopacsSession("client", SECRET, server.environment) as session:
            session.token = {"access_token": "the-token"}
            session.verify = authority.ca_file
            with pytest.raises(requests.ConnectionError) as error:
                session.post(f"{server.environment.token_url}/x", data=body())
        assert body is unreadable or b"Bearer the-token" in server.requests[0]
        told = traceback.TracebackException.from_exception(error.value, capture_locals=True)
        assert not shows("".join(told.format()), "the-token")
