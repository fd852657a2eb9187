"""Spark: a session for each partition, in the Python processes that executors start."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest
from pyspark.sql import Row, SparkSession

from gopacs_session import GopacsSession
from gopacs_session.sandbox import Sandbox


@pytest.fixture
def spark(gopacs_sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Iterator[SparkSession]:
    """Started when the environment variables are there, which its processes inherit."""
    monkeypatch.setenv("PYSPARK_PYTHON", sys.executable)
    builder = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false")
    with builder.config("spark.driver.bindAddress", "127.0.0.1").getOrCreate() as spark:
        yield spark


def test_a_session_for_each_partition(gopacs_sandbox: Sandbox, spark: SparkSession) -> None:
    """40 rows in four partitions cost four token requests, and each row is asked for once."""

    def call(rows: Iterator[Row]) -> Iterator[int]:
        with GopacsSession.from_env() as session:
            for row in rows:
                yield session.get(row.url).status_code

    urls = [Row(url=f"{gopacs_sandbox.api_url}/{number}") for number in range(40)]
    frame = spark.createDataFrame(urls).repartition(4)
    assert frame.rdd.getNumPartitions() == 4
    assert frame.rdd.mapPartitions(call).collect() == [200] * 40
    assert sorted(int(exchange.path[1:]) for exchange in gopacs_sandbox.api_requests) == list(range(40))
    assert len(gopacs_sandbox.token_requests) == 4
