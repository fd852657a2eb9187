"""The tree of errors: what catches what, what they carry, and what they say."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
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
DETAILS: dict[str, Any] = {
    "status_code": 503,
    "error": "temporarily_unavailable",
    "description": "Bücher",
    "retry_after": 1.5,
}


def test_the_tree() -> None:
    """Each error that the package exports descends from what the design draws, and from nothing else."""
    exported = [value for value in vars(gopacs_session).values() if isinstance(value, type)]
    assert {kind: kind.__bases__ for kind in exported if issubclass(kind, BaseException)} == BASES


COPIES: list[Callable[[Any], Any]] = [
    copy.copy,
    copy.deepcopy,
    *(
        lambda error, p=protocol: pickle.loads(pickle.dumps(error, p))
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1)
    ),
]


@pytest.mark.parametrize("copied", COPIES)
@pytest.mark.parametrize("kind", BASES)
def test_copies_and_pickles_keep_everything(kind: type[Exception], copied: Callable[[Any], Any]) -> None:
    """An error that is copied or pickled keeps its class, message and attributes."""
    for details in ({}, DETAILS) if issubclass(kind, TokenRequestError) else ({},):
        error = kind("What is wrong.", **details)
        twin = copied(copied(error))
        assert (type(twin), str(twin), twin.args, vars(twin)) == (kind, "What is wrong.", error.args, vars(error))
        assert vars(error).items() >= details.items()


def test_an_insecure_url_is_told_as_by_oauthlib() -> None:
    """Handlers of oauthlib's errors find what they read in an InsecureURLError."""
    error = InsecureURLError("Use https://.")
    assert (error.error, error.description, str(error)) == ("insecure_transport", "Use https://.", "Use https://.")


@pytest.mark.usefixtures("pauses")
def test_what_a_server_answered_survives_it(sandbox: Sandbox) -> None:
    """An error that was really raised, with its traceback and all, is copied and pickled whole."""
    answer = {"error": "slow_down", "error_description": "Not so fast."}
    sandbox.answer_next_token_requests(3, 429, body=answer, headers={"Retry-After": "7"})
    with sandbox.session() as session, pytest.raises(AuthorizationServerError) as failure:
        session.get(sandbox.api_url)
    for twin in copy.deepcopy(failure.value), pickle.loads(pickle.dumps(failure.value)):
        details = (twin.status_code, twin.error, twin.description, twin.retry_after)
        assert details == (429, "slow_down", "Not so fast.", 7)
        assert str(twin) == str(failure.value)


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
    """A message names the failure and the environment, and says where to look; the API is asked nothing."""
    sandbox.answer_next_token_requests(3, status, body=answer)
    environment = replace(sandbox.environment, name="a place of its own")
    with sandbox.session(environment=environment) as session, pytest.raises(TokenRequestError) as failure:
        session.get(sandbox.api_url)
    assert_says(failure.value, ["No access token", "a place of its own", *says])
    assert sandbox.api_requests == []


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


def assert_says(error: Exception, words: list[str]) -> None:
    for word in words:
        assert word in str(error)
    assert "\n" not in str(error)
    assert len(str(error)) < 400
