"""Fixtures for the tests of programs that use this package: a sandbox, and a session on it.

::

    def test_reads_on_after_a_revocation(gopacs_sandbox, gopacs_session):
        assert gopacs_session.get(f"{gopacs_sandbox.api_url}/messages").ok
        gopacs_sandbox.revoke_tokens()
        assert gopacs_session.get(f"{gopacs_sandbox.api_url}/messages").ok

While either is in use, :meth:`gopacs_session.GopacsSession.from_env` makes sessions on that sandbox, too.
Needs ``pip install 'gopacs_session[sandbox]'``.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from . import GopacsSession
    from .sandbox import Sandbox


@pytest.fixture
def gopacs_sandbox(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    """A running sandbox, for one test; the environment variables point every session at it."""
    # Here, so that no test run without these fixtures is the slower for them.
    from . import environment_variables
    from .sandbox import Sandbox

    with Sandbox() as sandbox:
        for name in environment_variables.NAMES:
            monkeypatch.delenv(name, raising=False)
        settings = environment_variables.variables(sandbox.client_id, sandbox.client_secret, sandbox.environment)
        for name, value in settings.items():
            monkeypatch.setenv(name, value)
        for name in [name for name in ("no_proxy", "NO_PROXY") if name in os.environ] or ["NO_PROXY"]:
            monkeypatch.setenv(name, "localhost", prepend=",")
        yield sandbox


@pytest.fixture
def gopacs_session(gopacs_sandbox: Sandbox) -> Iterator[GopacsSession]:
    """A session on the test's sandbox."""
    with gopacs_sandbox.session() as session:
        yield session
