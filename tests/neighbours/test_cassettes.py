"""vcrpy and betamax: a cassette is recorded once, with real traffic, and replayed without; it holds no secret."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import betamax
import pytest
import requests
import vcr

from gopacs_session import GopacsAuth, GopacsSession
from gopacs_session.sandbox import Sandbox

TOKEN = {"access_token": "a-token", "token_type": "Bearer", "expires_in": 300}


def without_token(answer: dict[str, Any]) -> dict[str, Any]:
    """What is kept of an answer: that of the token endpoint brings another token."""
    if b'"access_token"' not in answer["body"]["string"]:
        return answer
    body = json.dumps(TOKEN).encode()
    return {**answer, "headers": {"Content-Type": ["application/json"]}, "body": {"string": body}}


def vcr_in(folder: Path) -> vcr.VCR:
    return vcr.VCR(
        cassette_library_dir=str(folder),
        filter_headers=["Authorization"],
        filter_post_data_parameters=["client_secret"],
        before_record_response=without_token,
    )


@contextmanager
def by_vcrpy(_: GopacsSession, folder: Path, record: str) -> Iterator[None]:
    with vcr_in(folder).use_cassette("traffic.yaml", record_mode=record) as cassette:
        yield
        assert record == "once" or cassette.all_played


def leave_out_secrets(cassette: betamax.cassette.Cassette) -> None:
    """Have a cassette know another secret and another token than those that were used while it was recorded.

    Not before_record, since betamax gives to the session what is left after that.
    """
    for interaction in cassette.interactions:
        request, response = interaction.data["request"], interaction.data["response"]
        if "Authorization" in request["headers"]:
            request["headers"]["Authorization"] = [f"Bearer {TOKEN['access_token']}"]
        request["body"]["string"] = re.sub("client_secret=[^&]*", "client_secret=***", request["body"]["string"])
        if '"access_token"' in response["body"]["string"]:
            response["body"]["string"] = json.dumps(TOKEN)
            response["headers"].pop("Content-Length", None)


@contextmanager
def by_betamax(session: GopacsSession, folder: Path, record: str) -> Iterator[None]:
    with betamax.Betamax(session, cassette_library_dir=str(folder)) as recorder:
        recorder.config.before_stop(callback=leave_out_secrets)
        recorder.use_cassette("traffic", record=record)
        yield


@pytest.mark.parametrize("recorded_by", [by_vcrpy, by_betamax])
def test_a_cassette(
    sandbox: Sandbox, tmp_path: Path, recorded_by: Callable[[GopacsSession, Path, str], AbstractContextManager[None]]
) -> None:
    """A cassette with a mended 401 replays as it was recorded, without a server; it holds no secret and no token."""
    url, tokens = f"{sandbox.api_url}/participants", []
    with sandbox.session() as session, recorded_by(session, tmp_path, "once"):
        recorded = session.get(url).json()
        tokens.append(session.access_token)
        sandbox.revoke_tokens()
        assert session.get(url, params={"again": "yes"}).status_code == 200
        tokens.append(session.access_token)
    assert (len(sandbox.api_requests), len(sandbox.token_requests)) == (3, 2)

    [file] = tmp_path.glob("traffic.*")
    cassette = file.read_text()
    assert "client_id=sandbox" in cassette
    assert [secret for secret in (sandbox.client_secret, *tokens) if str(secret) in cassette] == []

    with sandbox.session(client_secret="another") as session, recorded_by(session, tmp_path, "none"):
        assert session.get(url).json() == recorded
        answer = session.get(url, params={"again": "yes"})
    assert (answer.status_code, [refusal.status_code for refusal in answer.history]) == (200, [401])
    assert (len(sandbox.api_requests), len(sandbox.token_requests)) == (3, 2)


def test_an_auth(sandbox: Sandbox, tmp_path: Path) -> None:
    """A request that an auth object authenticates is recorded and replayed, too."""
    answers = []
    for _ in range(2):
        with vcr_in(tmp_path).use_cassette("auth.yaml"):
            auth = GopacsAuth(sandbox.client_id, sandbox.client_secret, sandbox.environment)
            answers.append(requests.get(sandbox.api_url, auth=auth, verify=sandbox.ca_file, timeout=60).json())
    assert answers[0] == answers[1]
    assert (len(sandbox.api_requests), len(sandbox.token_requests)) == (1, 1)
