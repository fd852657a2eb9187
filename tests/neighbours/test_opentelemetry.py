"""OpenTelemetry's instrumentation of requests: which spans there are, and that they hold no secret."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from opentelemetry.instrumentation.requests import RequestsInstrumentor
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from gopacs_session import GopacsSession
from gopacs_session.sandbox import Sandbox


@pytest.fixture
def exporter() -> Iterator[InMemorySpanExporter]:
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    RequestsInstrumentor().instrument(tracer_provider=provider)
    yield exporter
    RequestsInstrumentor().uninstrument()


def summary(spans: tuple[ReadableSpan, ...]) -> list[tuple[str, object]]:
    return [(span.name, (span.attributes or {}).get("http.status_code")) for span in spans]


def test_spans(sandbox: Sandbox, session: GopacsSession, exporter: InMemorySpanExporter) -> None:
    """A token request is a span of its own; a replay, and the renewal for it, belong to the span of their request."""
    session.get(sandbox.api_url)
    sandbox.revoke_tokens()
    session.get(sandbox.api_url)
    spans = exporter.get_finished_spans()
    assert summary(spans) == [("POST", 200), ("GET", 200), ("GET", 200)]
    assert (len(sandbox.token_requests), len(sandbox.api_requests)) == (2, 3)
    tokens = {str(exchange.authorization).split()[1] for exchange in sandbox.api_requests}
    assert len(tokens) == 2
    text = "".join(span.to_json() for span in spans)
    assert [secret for secret in (sandbox.client_secret, *tokens) if secret in text] == []
