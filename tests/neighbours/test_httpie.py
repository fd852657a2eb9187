"""HTTPie sends through requests, with the auth object that the plugin makes from the environment variables."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from gopacs_session.sandbox import Sandbox
from gopacs_session.sandbox.controls import variables


def http(sandbox: Sandbox, *words: str, **changed: str) -> subprocess.CompletedProcess[str]:
    """Run the real command on the sandbox, whose certificate only GOPACS_CA_BUNDLE names."""
    environ = {**os.environ, **variables(sandbox.client_id, sandbox.environment), **changed}
    environ |= {"GOPACS_CLIENT_SECRET": sandbox.client_secret}
    command = [str(Path(sys.executable).parent / "http"), "--ignore-stdin", "--check-status", "-A", "gopacs", *words]
    return subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("bundle", [{}, {"REQUESTS_CA_BUNDLE": __file__}], ids=["alone", "beside REQUESTS_CA_BUNDLE"])
def test_a_request_has_a_token(sandbox: Sandbox, bundle: dict[str, str]) -> None:
    """`http -A gopacs URL` needs no credentials on its command line, and trusts the environment's CA bundle."""
    done = http(sandbox, f"{sandbox.api_url}/messages", **bundle)
    assert done.returncode == 0, done.stderr
    assert '"path":"/messages"' in done.stdout
    assert [exchange.token_number for exchange in sandbox.api_requests] == [1]


def test_a_refused_token_is_replayed(sandbox: Sandbox) -> None:
    """A token that was revoked between its grant and the request is renewed, and the body sent again."""
    sandbox.answer_next_api_requests(1, 401)
    done = http(sandbox, "POST", f"{sandbox.api_url}/messages", "text=hello")
    assert done.returncode == 0, done.stderr
    assert [exchange.body for exchange in sandbox.api_requests] == [b'{"text": "hello"}'] * 2
    assert [exchange.token_number for exchange in sandbox.api_requests] == [1, 2]


def test_a_fault_of_the_configuration(sandbox: Sandbox) -> None:
    """What is wrong with the variables ends the command, and nothing is sent."""
    done = http(sandbox, sandbox.api_url, GOPACS_API_DOMAINS="")
    assert done.returncode != 0
    assert "GOPACS_API_DOMAINS is empty" in done.stderr
    assert sandbox.token_requests == sandbox.api_requests == []
