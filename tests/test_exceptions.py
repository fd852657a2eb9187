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
from gopacs_session import ConfigurationError, TokenRequestError
from gopacs_session.sandbox import Sandbox

BASES: dict[str, tuple[type[Exception], ...]] = {
    "GopacsSessionError": (Exception,),
    "ConfigurationError": (gopacs_session.GopacsSessionError, ValueError),
    "WrongEnvironmentError": (ConfigurationError,),
    "InsecureURLError": (ConfigurationError, InsecureTransportError),
    "TokenRequestError": (gopacs_session.GopacsSessionError, requests.exceptions.RequestException),
    "InvalidClientError": (TokenRequestError,),
    "AuthorizationServerError": (TokenRequestError,),
}
KINDS: list[type[Exception]] = [getattr(gopacs_session, name) for name in BASES]
DETAILS = {"status_code": 503, "error": "temporarily_unavailable", "description": "Bücher", "retry_after": 1.5}


def test_the_tree() -> None:
    """Each error that the package exports descends from what the design draws, and from nothing else."""
    exported = {name: value for name, value in vars(gopacs_session).items() if name.endswith("Error")}
    assert {name: value.__bases__ for name, value in exported.items()} == BASES


def pickled(error: Exception) -> Any:
    return pickle.loads(pickle.dumps(error))


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, pickled])
@pytest.mark.parametrize("kind", KINDS)
def test_copies_and_pickles_keep_everything(kind: type[Exception], copied: Callable[[Any], Any]) -> None:
    """An error that is copied or pickled keeps its class, message and attributes."""
    for details in ({}, DETAILS) if issubclass(kind, TokenRequestError) else ({},):
        error = kind("What is wrong.", **details)
        twin = copied(copied(error))
        assert (type(twin), str(twin), twin.args, vars(twin)) == (kind, "What is wrong.", error.args, vars(error))
        assert vars(error).items() >= details.items()


MESSAGES: list[tuple[int, str | None, list[str]]] = [
    (401, "invalid_client", ["refused the client", "401 invalid_client", "Check client id and secret"]),
    (400, "invalid_scope", ["refused the request", "400", "see error and description"]),
    (302, None, ["redirects", "302"]),
    (200, None, ["200", "without a usable bearer token"]),
    (503, None, ["answered 503", "try again later"]),
]


@pytest.mark.usefixtures("pauses")
@pytest.mark.parametrize("status, error, says", MESSAGES)
def test_what_a_message_says(sandbox: Sandbox, status: int, error: str | None, says: list[str]) -> None:
    """A message names the failure and the environment, and says where to look; a raised error is pickled whole."""
    sandbox.answer_next_token_requests(3, status, body=error and {"error": error, "error_description": "words"})
    environment = replace(sandbox.environment, name="a place of its own")
    with sandbox.session(environment=environment) as session, pytest.raises(TokenRequestError) as failure:
        session.get(sandbox.api_url)
    for words in "No access token for a place of its own", *says:
        assert words in str(failure.value)
    assert "\n" not in str(failure.value)
    twin = pickled(failure.value)
    assert (type(twin), str(twin), vars(twin)) == (type(failure.value), str(failure.value), vars(failure.value))
    assert (twin.status_code, twin.error, twin.description) == (status, error, error and "words")
    assert sandbox.api_requests == []
