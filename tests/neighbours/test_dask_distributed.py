"""dask.distributed: a session shipped to the worker processes of a cluster that runs already."""

from __future__ import annotations

import os
import pickle
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from distributed import Client, Future, LocalCluster, wait

from gopacs_session import GopacsSession, InvalidClientError
from gopacs_session.sandbox import Sandbox

WORKERS = 3
CALLS = 4  # of each worker
SECONDS = 30


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    """Joined to a cluster of processes on loopback, without a dashboard."""
    cluster = LocalCluster(
        n_workers=WORKERS, threads_per_worker=2, processes=True, host="127.0.0.1", dashboard_address=None
    )
    with cluster, Client(cluster.scheduler_address, timeout=SECONDS) as client:
        client.wait_for_workers(WORKERS, timeout=SECONDS)
        yield client


def call(session: GopacsSession, url: str) -> tuple[int, int]:
    """Process and status of one request."""
    return os.getpid(), session.get(url).status_code


def on_each_worker(client: Client, session: GopacsSession | Future, sandbox: Sandbox) -> set[int]:
    """Have each worker call the API; the processes that did."""
    futures = [
        client.submit(call, session, f"{sandbox.api_url}/{number}", workers=[worker], pure=False)
        for worker in client.scheduler_info(n_workers=-1)["workers"]
        for number in range(CALLS)
    ]
    wait(futures, timeout=SECONDS)
    answers = client.gather(futures)
    assert {status for _, status in answers} == {200}
    return {process for process, _ in answers}


def with_each_task(client: Client, session: GopacsSession) -> GopacsSession:
    return session


def scattered(client: Client, session: GopacsSession) -> Future:
    return client.scatter(session, broadcast=True, hash=False)


Ship = Callable[[Client, GopacsSession], "GopacsSession | Future"]


@pytest.mark.parametrize("ship", [with_each_task, scattered])
def test_a_warm_session_costs_no_worker_a_token_request(client: Client, sandbox: Sandbox, ship: Ship) -> None:
    """Until the token expires, every worker process calls the API with the one that the session brought along."""
    with sandbox.session() as session:
        session.fetch_token()
        processes = on_each_worker(client, ship(client, session), sandbox)
    assert len(processes - {os.getpid()}) == WORKERS
    assert [exchange.token_number for exchange in sandbox.api_requests] == [1] * WORKERS * CALLS
    assert len(sandbox.token_requests) == 1


@pytest.mark.parametrize("ship, renewals", [(with_each_task, WORKERS * CALLS), (scattered, WORKERS)])
def test_an_expired_token_is_renewed(client: Client, sandbox: Sandbox, ship: Ship, renewals: int) -> None:
    """Scattered, a session renews once for all tasks of a worker; shipped with each task, once for each."""
    with sandbox.session() as session:
        session.token = {**session.fetch_token(), "expires_at": time.time() - 1}
        on_each_worker(client, ship(client, session), sandbox)
    assert len(sandbox.token_requests) == 1 + renewals
    assert {exchange.status for exchange in sandbox.api_requests} == {200}


def test_a_secret_that_each_worker_looks_up(client: Client, sandbox: Sandbox, tmp_path: Path) -> None:
    """With a callable for a secret, workers find it out themselves: what is shipped does not hold it."""
    file = tmp_path / "secret"
    file.write_text(sandbox.client_secret)
    with sandbox.session(client_secret=partial(Path.read_text, file)) as session:
        assert sandbox.client_secret.encode() not in pickle.dumps(session)
        on_each_worker(client, scattered(client, session), sandbox)
    assert len(sandbox.token_requests) == WORKERS


def test_an_error_on_a_worker(client: Client, sandbox: Sandbox) -> None:
    """Refused credentials come back as the typed error, and the cluster's logs hold no secret."""
    with sandbox.session(client_secret="wrong-secret") as session:
        future = client.submit(call, session, f"{sandbox.api_url}/participants", pure=False)
        with pytest.raises(InvalidClientError) as caught:
            future.result(timeout=SECONDS)
    assert (caught.value.status_code, caught.value.error) == (401, "unauthorized_client")
    logs = str(client.get_worker_logs())
    assert "InvalidClientError" in logs
    assert "wrong-secret" not in logs
