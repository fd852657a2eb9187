"""The tree of errors: what catches what, what they carry, and what they say."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
import requests
from oauthlib.oauth2 import InsecureTransportError

import gopacs_session
from gopacs_session import (
    ACCEPTANCE,
    AuthorizationServerError,
    ConfigurationError,
    Environment,
    GopacsSession,
    GopacsSessionError,
    InsecureURLError,
    InvalidClientError,
    TokenRequestError,
    WrongEnvironmentError,
)
from gopacs_session.sandbox import Sandbox

BASES: dict[type[Exception], tuple[type[Exception], ...]] = {
    GopacsSessionError: (Exception,),
    ConfigurationError: (GopacsSessionError, ValueError),
    WrongEnvironmentError: (ConfigurationError,),
    InsecureURLError: (ConfigurationError, InsecureTransportError),
    TokenRequestError: (GopacsSessionError, requests.exceptions.RequestException),
    InvalidClientError: (TokenRequestError,),
    AuthorizationServerError: (TokenRequestError,),
}
TOKEN_ERRORS = [TokenRequestError, InvalidClientError, AuthorizationServerError]
ATTRIBUTES: dict[str, Any] = {
    "status_code": 503,
    "error": "temporarily_unavailable",
    "description": "Bücher",
    "retry_after": 1.5,
}


@pytest.mark.parametrize("kind", BASES, ids=lambda kind: kind.__name__)
def test_the_tree(kind: type[Exception]) -> None:
    """Each error descends from what the design draws, and from nothing else."""
    assert kind.__bases__ == BASES[kind]


def test_the_tree_is_whole() -> None:
    """Every exception that the package exports stands in the tree."""
    exported = {value for value in vars(gopacs_session).values() if isinstance(value, type)}
    assert {kind for kind in exported if issubclass(kind, BaseException)} == set(BASES)


COPIES: list[Callable[[Any], Any]] = [
    copy.copy,
    copy.deepcopy,
    *(
        lambda error, p=protocol: pickle.loads(pickle.dumps(error, p))
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1)
    ),
]


@pytest.mark.parametrize("copied", COPIES)
@pytest.mark.parametrize("attributes", [ATTRIBUTES, {}], ids=["all", "none"])
@pytest.mark.parametrize("kind", TOKEN_ERRORS)
def test_copies_and_pickles_keep_everything(
    kind: type[TokenRequestError], attributes: dict[str, Any], copied: Callable[[Any], Any]
) -> None:
    """A TokenRequestError that is copied or pickled keeps its class, message and attributes."""
    error = kind("No access token.", **attributes)
    twin = copied(copied(error))
    assert type(twin) is kind
    assert (str(twin), twin.args) == (str(error), error.args)
    for name in ATTRIBUTES:
        assert getattr(twin, name) == getattr(error, name) == attributes.get(name)
    assert twin.request is twin.response is None


@pytest.mark.parametrize("copied", COPIES)
@pytest.mark.parametrize("kind", [GopacsSessionError, ConfigurationError, WrongEnvironmentError])
def test_the_other_errors_survive_it_too(kind: type[Exception], copied: Callable[[Any], Any]) -> None:
    """An error of any other class is copied and pickled with its message."""
    twin = copied(kind("What is wrong."))
    assert type(twin) is kind
    assert twin.args == ("What is wrong.",)


@pytest.mark.usefixtures("pauses")
@pytest.mark.parametrize("copied", COPIES)
def test_what_a_server_answered_survives_it(sandbox: Sandbox, copied: Callable[[Any], Any]) -> None:
    """An error that was really raised, with its traceback and all, is copied and pickled whole."""
    answer = {"error": "slow_down", "error_description": "Not so fast."}
    sandbox.answer_next_token_requests(3, 429, body=answer, headers={"Retry-After": "7"})
    with sandbox.session() as session, pytest.raises(AuthorizationServerError) as failure:
        session.get(sandbox.api_url)
    twin = copied(failure.value)
    assert (twin.status_code, twin.error, twin.description) == (429, "slow_down", "Not so fast.")
    assert twin.retry_after == 7
    assert str(twin) == str(failure.value)


@pytest.mark.usefixtures("pauses")
@pytest.mark.parametrize("handler", [requests.RequestException, OSError, GopacsSessionError, TokenRequestError])
@pytest.mark.parametrize("status", [200, 302, 400, 401, 503])
def test_a_scripts_handlers_keep_working(sandbox: Sandbox, status: int, handler: type[Exception]) -> None:
    """`except requests.RequestException` catches every failure to get a token."""
    sandbox.answer_next_token_requests(3, status)
    with sandbox.session() as session, pytest.raises(handler):
        session.get(sandbox.api_url)
    assert sandbox.api_requests == []


def test_an_error_crosses_threads(sandbox: Sandbox) -> None:
    """A future hands the error over as it was raised."""
    sandbox.client_enabled = False
    with sandbox.session() as session, ThreadPoolExecutor(1) as pool:
        error = pool.submit(session.get, sandbox.api_url).exception()
    assert isinstance(error, InvalidClientError)
    assert error.status_code == 401


@pytest.mark.usefixtures("pauses")
@pytest.mark.parametrize(
    "status, answer, says",
    [
        (
            401,
            {"error": "invalid_client"},
            ["refused the client", "401", "invalid_client", "Check client id and secret"],
        ),
        (401, {"error": "unauthorized_client"}, ["refused the client", "401", "unauthorized_client", "secret"]),
        (400, {"error": "invalid_scope"}, ["refused", "400", "see error and description"]),
        (404, {"error": "Realm does not exist"}, ["refused", "404", "see error and description"]),
        (302, None, ["redirects", "302"]),
        (307, None, ["redirects", "307"]),
        (200, None, ["200", "without a usable bearer token"]),
        (503, None, ["answered 503"]),
        (429, None, ["answered 429"]),
    ],
)
def test_messages_say_what_failed_and_where(sandbox: Sandbox, status: int, answer: Any, says: list[str]) -> None:
    """A message names the failure and the environment, and says where to look."""
    sandbox.answer_next_token_requests(3, status, body=answer)
    environment = replace(sandbox.environment, name="a place of its own")
    with sandbox.session(environment=environment) as session, pytest.raises(TokenRequestError) as failure:
        session.get(sandbox.api_url)
    assert_says(failure.value, ["No access token", "a place of its own", *says])


@pytest.mark.usefixtures("pauses")
def test_the_message_of_an_outage_says_what_to_check() -> None:
    """When no connection comes about, the message has the system's reason, and names network, proxy and CA bundle."""
    environment = Environment("a place of its own", "https://127.0.0.1:1/token", ("127.0.0.1",))
    with GopacsSession("client", "secret", environment) as session, pytest.raises(TokenRequestError) as failure:
        session.get("https://127.0.0.1:1/")
    assert_says(failure.value, ["a place of its own", "out of reach", "refused", "network, proxy and CA bundle"])


def test_the_message_of_a_missing_ca_bundle_names_it() -> None:
    """A CA bundle that isn't there is told by its path."""
    with GopacsSession("client", "secret", ACCEPTANCE) as session:
        session.verify = "/nowhere/ca.pem"
        with pytest.raises(TokenRequestError) as failure:
            session.fetch_token()
    assert_says(failure.value, ["acceptance", "could not be sent", "/nowhere/ca.pem"])


def test_the_message_of_a_wrong_environment_says_what_to_do() -> None:
    """A URL of the other environment is told with both names, and with the ways out."""
    with GopacsSession("client", "secret", ACCEPTANCE) as session, pytest.raises(WrongEnvironmentError) as refusal:
        session.get("https://api.gopacs-services.eu/")
    assert_says(refusal.value, ["acceptance", "production", "nothing was sent", "withhold_token=True"])


@pytest.mark.parametrize(
    "arguments, says",
    [
        (("", "secret"), ["client_id"]),
        (("client", ""), ["client_secret"]),
        (("client", None), ["client_secret"]),
        (("client", "secret", "staging"), ["environment", "acceptance", "production"]),
        (("client", "secret", None), ["environment"]),
    ],
)
def test_a_wrong_setting_is_named(arguments: tuple[Any, ...], says: list[str]) -> None:
    """A missing or malformed setting is named at construction, and an unknown environment with the choices."""
    with pytest.raises(ConfigurationError) as refusal:
        GopacsSession(*arguments)
    assert_says(refusal.value, says)


def assert_says(error: Exception, words: list[str]) -> None:
    for word in words:
        assert word in str(error)
    assert "\n" not in str(error)
    assert len(str(error)) < 400
