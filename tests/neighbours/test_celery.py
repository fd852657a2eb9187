"""Celery: a prefork pool, fed through a broker in the file system."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from gopacs_session.sandbox import Sandbox

PROCESSES = 3
HERE = Path(__file__).parent


@pytest.fixture
def tasks(gopacs_sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[ModuleType]:
    """The module of the tasks, with a worker that serves them."""
    for name in ("messages", "results", "control"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("CELERY_FOLDER", str(tmp_path))
    monkeypatch.syspath_prepend(HERE)
    monkeypatch.delitem(sys.modules, "celery_tasks", raising=False)
    import celery_tasks

    options = ["--pool", "prefork", "--concurrency", str(PROCESSES), "--without-gossip", "--without-mingle"]
    worker = subprocess.Popen([sys.executable, "-m", "celery", "-A", "celery_tasks", "worker", *options], cwd=HERE)
    yield celery_tasks
    worker.terminate()
    worker.wait(30)


def test_60_tasks_cost_a_token_request_for_each_process(gopacs_sandbox: Sandbox, tasks: ModuleType) -> None:
    """Each process of the pool has a session, and with it a token, for all of its tasks."""
    with gopacs_sandbox.hold_token_requests():
        results = [tasks.call.delay(f"{gopacs_sandbox.api_url}/{number}") for number in range(60)]
        gopacs_sandbox.wait_for_token_requests(PROCESSES, timeout=60)
    assert {result.get(timeout=60) for result in results} == {200}
    assert sorted(int(exchange.path[1:]) for exchange in gopacs_sandbox.api_requests) == list(range(60))
    assert len(gopacs_sandbox.token_requests) == PROCESSES


def test_a_soft_time_limit(gopacs_sandbox: Sandbox, tasks: ModuleType) -> None:
    """SoftTimeLimitExceeded reaches the task as it is while a token is fetched, and the next task gets a token."""
    with gopacs_sandbox.hold_token_requests():
        late = [tasks.call_within_a_second.delay(gopacs_sandbox.api_url) for _ in range(PROCESSES)]
        assert [result.get(timeout=60) for result in late] == ["out of time"] * PROCESSES
    assert tasks.call.delay(gopacs_sandbox.api_url).get(timeout=60) == 200
