"""APScheduler: jobs in threads, on one session."""

from __future__ import annotations

from queue import SimpleQueue

from apscheduler.schedulers.background import BackgroundScheduler

from gopacs_session import GopacsSession
from gopacs_session.sandbox import Sandbox


def test_jobs_share_a_token(sandbox: Sandbox, session: GopacsSession) -> None:
    """Jobs that are due at once cost one token request."""
    answers: SimpleQueue[int] = SimpleQueue()
    scheduler = BackgroundScheduler()
    for number in range(8):
        scheduler.add_job(lambda url: answers.put(session.get(url).status_code), args=[f"{sandbox.api_url}/{number}"])
    scheduler.start()
    assert {answers.get(timeout=30) for _ in range(8)} == {200}
    scheduler.shutdown()
    assert len(sandbox.token_requests) == 1
