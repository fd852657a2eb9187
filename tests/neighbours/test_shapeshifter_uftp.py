"""shapeshifter-uftp: signed messages to a broker that asks for a token, with a session as `oauth_client`."""

from __future__ import annotations

import threading
from typing import Any

import pytest
import requests
from nacl.encoding import Base64Encoder
from nacl.signing import SigningKey
from shapeshifter_uftp import ShapeshifterAgrDsoClient, ShapeshifterAgrService, transport
from shapeshifter_uftp.client import ShapeshifterDsoAgrClient
from shapeshifter_uftp.exceptions import ClientTransportException
from shapeshifter_uftp.uftp import PayloadMessage, SignedMessage, TestMessage, TestMessageResponse

from gopacs_session import GopacsSession, InvalidClientError
from gopacs_session.sandbox import Exchange, Sandbox

AGR, DSO = "agr.example.org", "dso.example.org"
PATH = "/shapeshifter/api/v3/message"


def keys(name: str) -> tuple[str, str]:
    """Private and public key, each the same in every run."""
    key = SigningKey(name.encode().ljust(32, b"."))
    private = key.encode() + key.verify_key.encode()
    return Base64Encoder.encode(private).decode(), key.verify_key.encode(Base64Encoder).decode()


PRIVATE, PUBLIC = ({domain: keys(domain)[which] for domain in (AGR, DSO)} for which in (0, 1))


@pytest.fixture
def broker(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Sandbox:
    """The sandbox, which shapeshifter trusts: it sends with requests.post, which knows no CA but the user's."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", sandbox.ca_file)
    return sandbox


@pytest.fixture
def client(broker: Sandbox, session: GopacsSession) -> ShapeshifterAgrDsoClient:
    return ShapeshifterAgrDsoClient(
        sender_domain=AGR,
        signing_key=PRIVATE[AGR],
        recipient_domain=DSO,
        recipient_endpoint=f"{broker.api_url}{PATH}",
        recipient_signing_key=PUBLIC[DSO],
        oauth_client=session,
    )


def opened(exchange: Exchange) -> PayloadMessage:
    """The message that the broker received, whose signature must be the aggregator's."""
    signed = transport.from_xml(exchange.body.decode())
    assert isinstance(signed, SignedMessage)
    assert signed.sender_domain == AGR
    return transport.unseal_message(signed.body, PUBLIC[AGR])


def test_a_signed_message_bears_the_token(broker: Sandbox, client: ShapeshifterAgrDsoClient) -> None:
    """The broker receives the message with a valid signature and a token, for one token request."""
    client.send_test_message(TestMessage(conversation_id="first"))
    client.send_test_message(TestMessage(conversation_id="second"))
    assert [exchange.path for exchange in broker.api_requests] == [PATH] * 2
    assert [opened(exchange).conversation_id for exchange in broker.api_requests] == ["first", "second"]
    assert [(exchange.status, exchange.token_number) for exchange in broker.api_requests] == [(200, 1)] * 2
    assert len(broker.token_requests) == 1


def test_the_clients_own_ten_workers_cost_one_token_request(broker: Sandbox, client: ShapeshifterAgrDsoClient) -> None:
    """The workers of its outgoing queue deliver each message once, on one token."""
    delivered = threading.Semaphore(0)
    for number in range(40):
        client._queue_message(TestMessage(conversation_id=str(number)), lambda _: delivered.release())
    for _ in range(40):
        assert delivered.acquire(timeout=30)
    assert len(client.outgoing_workers) == 10
    assert sorted(int(opened(exchange).conversation_id) for exchange in broker.api_requests) == list(range(40))
    assert len(broker.token_requests) == 1


def test_a_revoked_token_is_the_callers_to_renew(
    broker: Sandbox, client: ShapeshifterAgrDsoClient, session: GopacsSession
) -> None:
    """The client sends its messages itself, so the session mends no 401: renew, and send once more."""
    client.send_test_message()
    broker.revoke_tokens()
    for _ in range(2):
        with pytest.raises(ClientTransportException) as caught:
            client.send_test_message()
        assert caught.value.response.status_code == 401
    session.fetch_token(refused=caught.value.response.request.headers["Authorization"])
    client.send_test_message()
    assert [exchange.token_number for exchange in broker.api_requests] == [1, 1, 1, 2]


def test_without_a_token_nothing_is_sent(broker: Sandbox, client: ShapeshifterAgrDsoClient) -> None:
    """Refused credentials raise the session's own error, before the message goes out."""
    broker.client_enabled = False
    with pytest.raises(InvalidClientError):
        client.send_test_message()
    assert broker.api_requests == []


def test_the_client_chooses_where_the_token_goes(
    broker: Sandbox, client: ShapeshifterAgrDsoClient, session: GopacsSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An endpoint that is none of the environment's is sent the token all the same: let no DNS choose it."""
    with Sandbox() as stranger:
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", stranger.ca_file)
        client.recipient_endpoint = stranger.api_url.replace("localhost", "127.0.0.1")
        assert not session.environment.covers(client.recipient_endpoint)
        with pytest.raises(ClientTransportException):
            client.send_test_message()
        assert stranger.api_requests[0].authorization == f"Bearer {session.access_token}"
    assert broker.api_requests == []


class Service(ShapeshifterAgrService):
    """An aggregator's service, which answers what the grid operator sends."""

    def ignore(self, message: Any) -> None:
        """Nothing comes back in these tests."""

    process_agr_portfolio_query_response = process_agr_portfolio_update_response = ignore
    process_d_prognosis_response = process_flex_offer_response = process_flex_offer_revocation_response = ignore
    process_flex_request = process_flex_order = process_flex_reservation_update = process_flex_settlement = ignore
    process_metering_response = ignore


def test_a_service_answers_with_the_token(broker: Sandbox, session: GopacsSession) -> None:
    """A service whose oauth_lookup_function returns the session answers 40 messages on ten threads with one token."""
    service = Service(
        sender_domain=AGR,
        signing_key=PRIVATE[AGR],
        key_lookup_function=lambda domain, role: PUBLIC[domain],
        endpoint_lookup_function=lambda domain, role: f"{broker.api_url}{PATH}",
        oauth_lookup_function=lambda domain, role: session,
        host="127.0.0.1",
        port=0,
    )
    with service:
        port = service.server.servers[0].sockets[0].getsockname()[1]
        operator = ShapeshifterDsoAgrClient(
            sender_domain=DSO,
            signing_key=PRIVATE[DSO],
            recipient_domain=AGR,
            recipient_endpoint=f"http://127.0.0.1:{port}{PATH}",
            recipient_signing_key=PUBLIC[AGR],
        )
        # One after the other: on ten threads at once, its service now and then took a message for a bad request.
        for number in range(40):
            operator.send_test_message(TestMessage(conversation_id=str(number)))
        service.inbound_executor.shutdown()
    answers = [opened(exchange) for exchange in broker.api_requests]
    assert {type(answer) for answer in answers} == {TestMessageResponse}
    assert sorted(int(answer.conversation_id) for answer in answers) == list(range(40))
    assert {(exchange.status, exchange.token_number) for exchange in broker.api_requests} == {(200, 1)}
    assert len(broker.token_requests) == 1
    assert requests.get(f"{broker.api_url}/without-a-token").status_code == 401
