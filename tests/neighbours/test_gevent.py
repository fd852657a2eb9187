"""gevent: greenlets in place of threads, in a process that it has patched."""

from __future__ import annotations

import pytest

from gopacs_session.sandbox import Sandbox
from neighbours.programs import run

PROGRAM = """
    from gevent import monkey
    monkey.patch_all()
    import sys
    from gevent.pool import Pool
    from gopacs_session import GopacsSession

    api, first_token = sys.argv[1:]
    with GopacsSession.from_env() as session:
        if first_token:
            session.token = {"access_token": first_token, "expires_in": 300}
        answers = Pool(32).map(session.get, [f"{api}/{number}" for number in range(64)])
        print({answer.status_code for answer in answers})
"""


@pytest.mark.parametrize("first_token", ["", "revoked"], ids=["cold", "revoked"])
def test_greenlets_share_a_token(gopacs_sandbox: Sandbox, first_token: str) -> None:
    """32 greenlets that need a token at once share one token request."""
    assert run(PROGRAM, gopacs_sandbox.api_url, first_token) == "{200}"
    assert len(gopacs_sandbox.token_requests) == 1
