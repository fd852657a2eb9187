"""The worker's program: a session for each process of a prefork pool, made at its start."""

from __future__ import annotations

import os
from typing import Any

from celery import Celery
from celery.exceptions import SoftTimeLimitExceeded
from celery.signals import worker_process_init

from gopacs_session import GopacsSession

folder = os.environ["CELERY_FOLDER"]
app = Celery(
    broker_url="filesystem://",
    result_backend=f"file://{folder}/results",
    broker_transport_options={
        "data_folder_in": f"{folder}/messages",
        "data_folder_out": f"{folder}/messages",
        "control_folder": f"{folder}/control",
        "polling_interval": 0.05,
    },
)


@worker_process_init.connect
def start(**_: Any) -> None:
    global session
    session = GopacsSession.from_env()


@app.task(soft_time_limit=20)
def call(url: str) -> int:
    return session.get(url).status_code


@app.task(soft_time_limit=1)
def call_within_a_second(url: str) -> str:
    try:
        return str(session.get(url).status_code)
    except SoftTimeLimitExceeded:
        return "out of time"
