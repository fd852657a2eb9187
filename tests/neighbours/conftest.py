from __future__ import annotations

from collections.abc import Iterator

import pytest

from gopacs_session import GopacsSession
from gopacs_session.sandbox import Sandbox


@pytest.fixture
def session(sandbox: Sandbox) -> Iterator[GopacsSession]:
    with sandbox.session() as session:
        yield session


@pytest.fixture
def revoked(sandbox: Sandbox, session: GopacsSession) -> GopacsSession:
    """A session whose token has been revoked unbeknown to it."""
    session.get(f"{sandbox.api_url}/warm")
    sandbox.revoke_tokens()
    sandbox.api_requests.clear()
    return session
