"""OpenTelemetry's instrumentation of requests: which spans there are, and that they tell no secret."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from opentelemetry.instrumentation.requests import RequestsInstrumentor
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from support import Clock, finish_renewals

from gopacs_session import GopacsSession
from gopacs_session.sandbox import Sandbox


@pytest.fixture
def provider() -> Iterator[TracerProvider]:
    provider = TracerProvider()
    RequestsInstrumentor().instrument(tracer_provider=provider)
    yield provider
    RequestsInstrumentor().uninstrument()


@pytest.fixture
def exporter(provider: TracerProvider) -> InMemorySpanExporter:
    exporter = InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return exporter


def status(span: ReadableSpan) -> object:
    return (span.attributes or {}).get("http.status_code")


def test_spans(
    sandbox: Sandbox, session: GopacsSession, provider: TracerProvider, exporter: InMemorySpanExporter
) -> None:
    """The first token request is a span of its own; a replay, and the renewal for it, lie within their request's."""
    with provider.get_tracer("job").start_as_current_span("job"):
        session.get(sandbox.api_url)
        tokens = [session.access_token]
        sandbox.revoke_tokens()
        assert session.get(sandbox.api_url).status_code == 200
        tokens.append(session.access_token)
    *requests, last = exporter.get_finished_spans()
    assert [(span.name, status(span)) for span in requests] == [("POST", 200), ("GET", 200), ("GET", 200)]
    assert [span.parent for span in requests] == [last.context] * 3
    assert (len(sandbox.token_requests), len(sandbox.api_requests)) == (2, 3)
    told = "".join(span.to_json() for span in exporter.get_finished_spans())
    assert [secret for secret in (sandbox.client_secret, *tokens) if str(secret) in told] == []


def test_a_background_renewal_is_a_trace_of_its_own(
    sandbox: Sandbox, session: GopacsSession, provider: TracerProvider, exporter: InMemorySpanExporter, clock: Clock
) -> None:
    """The renewal of a stale token belongs to no request: its span has no parent."""
    with provider.get_tracer("job").start_as_current_span("job"):
        session.get(sandbox.api_url)
        clock.advance(sandbox.token_lifetime - 30)
        session.get(sandbox.api_url)
        finish_renewals()
    renewals = [span for span in exporter.get_finished_spans() if span.name == "POST"]
    assert [span.parent is None for span in renewals] == [False, True]
