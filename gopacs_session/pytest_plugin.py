"""Fixtures for the tests of programs that use this package: a sandbox, and a session on it.

They need ``pip install 'gopacs_session[sandbox]'``.
"""

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from . import GopacsSession
    from .sandbox import Sandbox


@pytest.fixture
def gopacs_sandbox(monkeypatch: pytest.MonkeyPatch) -> Iterator["Sandbox"]:
    """A sandbox for one test; meanwhile from_env() makes sessions on it, too."""
    from .sandbox.controls import Sandbox, variables  # Here, so that other test runs are not the slower for it.

    with Sandbox() as sandbox:
        for name in [name for name in os.environ if name.startswith("GOPACS_")]:
            monkeypatch.delenv(name)
        monkeypatch.setenv("GOPACS_CLIENT_SECRET", sandbox.client_secret)
        for name, value in variables(sandbox.client_id, sandbox.environment).items():
            monkeypatch.setenv(name, value)
        for name in [name for name in ("no_proxy", "NO_PROXY") if name in os.environ] or ["NO_PROXY"]:
            monkeypatch.setenv(name, "localhost", prepend=",")
        yield sandbox


@pytest.fixture
def gopacs_session(gopacs_sandbox: "Sandbox") -> Iterator["GopacsSession"]:
    """A session on the test's sandbox."""
    with gopacs_sandbox.session() as session:
        yield session
