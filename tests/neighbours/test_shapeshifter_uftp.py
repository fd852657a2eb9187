"""shapeshifter-uftp: signed messages to a broker that asks for a token, with a session as `oauth_client`."""

from __future__ import annotations

import pytest
from nacl.encoding import Base64Encoder
from nacl.signing import SigningKey
from shapeshifter_uftp import ShapeshifterAgrDsoClient, ShapeshifterAgrService, ShapeshifterDsoAgrClient, transport
from shapeshifter_uftp.exceptions import ClientTransportException
from shapeshifter_uftp.uftp import PayloadMessage, SignedMessage, TestMessage, TestMessageResponse

from gopacs_session import GopacsSession
from gopacs_session.sandbox import Exchange, Sandbox

AGR, DSO = "agr.example.org", "dso.example.org"
PATH = "/shapeshifter/api/v3/message"
KEYS = {domain: SigningKey(domain.encode().ljust(32, b".")) for domain in (AGR, DSO)}
PUBLIC = {domain: key.verify_key.encode(Base64Encoder).decode() for domain, key in KEYS.items()}
PRIVATE = {
    domain: Base64Encoder.encode(key.encode() + key.verify_key.encode()).decode() for domain, key in KEYS.items()
}


@pytest.fixture
def broker(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Sandbox:
    """The sandbox, which shapeshifter trusts: it sends with requests.post, which knows no CA but the user's."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", sandbox.ca_file)
    return sandbox


@pytest.fixture
def client(broker: Sandbox, session: GopacsSession) -> ShapeshifterAgrDsoClient:
    return ShapeshifterAgrDsoClient(
        AGR, PRIVATE[AGR], DSO, f"{broker.api_url}{PATH}", PUBLIC[DSO], oauth_client=session
    )


def opened(exchange: Exchange) -> PayloadMessage:
    """The message that the broker received, whose signature must be the aggregator's."""
    signed = transport.from_xml(exchange.body.decode())
    assert isinstance(signed, SignedMessage)
    assert (exchange.path, signed.sender_domain) == (PATH, AGR)
    return transport.unseal_message(signed.body, PUBLIC[AGR])


def test_a_revoked_token_is_the_callers_to_renew(
    broker: Sandbox, client: ShapeshifterAgrDsoClient, session: GopacsSession
) -> None:
    """The client sends its messages itself, so the session replays no 401: renew, and send once more."""
    client.send_test_message()
    broker.revoke_tokens()
    with pytest.raises(ClientTransportException) as caught:
        client.send_test_message()
    session.fetch_token(refused=caught.value.response.request.headers["Authorization"])
    client.send_test_message(TestMessage(conversation_id="once-more"))
    assert [(exchange.status, exchange.token_number) for exchange in broker.api_requests] == [
        (200, 1),
        (401, 1),
        (200, 2),
    ]
    assert opened(broker.api_requests[-1]).conversation_id == "once-more"


def do_nothing(service: ShapeshifterAgrService, message: PayloadMessage) -> None:
    """What the service makes of messages that no test sends."""


# The abstract methods are one for each kind of message.
Service = type(
    "Service", (ShapeshifterAgrService,), dict.fromkeys(ShapeshifterAgrService.__abstractmethods__, do_nothing)
)


def test_a_service(broker: Sandbox, session: GopacsSession) -> None:
    """A service whose oauth_lookup_function returns the session sends its responses with the token."""
    endpoint = f"{broker.api_url}{PATH}"
    with Service(
        AGR,
        PRIVATE[AGR],
        lambda domain, role: PUBLIC[domain],
        lambda domain, role: endpoint,
        oauth_lookup_function=lambda domain, role: session,
        host="127.0.0.1",
        port=0,
    ) as service:
        port = service.server.servers[0].sockets[0].getsockname()[1]
        operator = ShapeshifterDsoAgrClient(DSO, PRIVATE[DSO], AGR, f"http://127.0.0.1:{port}{PATH}", PUBLIC[AGR])
        operator.send_test_message()
        service.inbound_executor.shutdown()
    [response] = broker.api_requests
    assert isinstance(opened(response), TestMessageResponse)
    assert (response.status, response.token_number) == (200, 1)
