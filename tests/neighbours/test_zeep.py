"""zeep: a SOAP client that sends through the session."""

from __future__ import annotations

from pathlib import Path

import pytest
import zeep
from lxml import etree
from zeep.transports import Transport

from gopacs_session import ACCEPTANCE, PRODUCTION, GopacsSession, WrongEnvironmentError
from gopacs_session.sandbox import Sandbox

WSDL = """<?xml version="1.0"?>
<definitions xmlns="http://schemas.xmlsoap.org/wsdl/" xmlns:soap="http://schemas.xmlsoap.org/wsdl/soap/"
    xmlns:xsd="http://www.w3.org/2001/XMLSchema" xmlns:t="urn:tariffs" targetNamespace="urn:tariffs">
  <types>
    <xsd:schema targetNamespace="urn:tariffs" elementFormDefault="qualified">
      <xsd:element name="Ask"><xsd:complexType><xsd:sequence>
        <xsd:element name="area" type="xsd:string"/>
      </xsd:sequence></xsd:complexType></xsd:element>
      <xsd:element name="Told"><xsd:complexType><xsd:sequence>
        <xsd:element name="tariff" type="xsd:decimal"/>
      </xsd:sequence></xsd:complexType></xsd:element>
    </xsd:schema>
  </types>
  <message name="AskMessage"><part name="parameters" element="t:Ask"/></message>
  <message name="ToldMessage"><part name="parameters" element="t:Told"/></message>
  <portType name="Tariffs">
    <operation name="Ask"><input message="t:AskMessage"/><output message="t:ToldMessage"/></operation>
  </portType>
  <binding name="TariffsBinding" type="t:Tariffs">
    <soap:binding transport="http://schemas.xmlsoap.org/soap/http"/>
    <operation name="Ask">
      <soap:operation soapAction="urn:tariffs/Ask"/>
      <input><soap:body use="literal"/></input><output><soap:body use="literal"/></output>
    </operation>
  </binding>
  <service name="TariffService">
    <port name="TariffPort" binding="t:TariffsBinding"><soap:address location="{location}"/></port>
  </service>
</definitions>
"""
TOLD = b"""<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/">
  <s:Body><Told xmlns="urn:tariffs"><tariff>0.31</tariff></Told></s:Body>
</s:Envelope>"""
XML = {"Content-Type": "text/xml; charset=utf-8"}


@pytest.fixture
def client(sandbox: Sandbox, session: GopacsSession) -> zeep.Client:
    """A client whose WSDL came from the API too, on a session that asks for XML."""
    session.headers["Accept"] = "text/xml"
    sandbox.answer_next_api_requests(1, 200, body=WSDL.format(location=f"{sandbox.api_url}/soap").encode(), headers=XML)
    client = zeep.Client(f"{sandbox.api_url}/tariffs.wsdl", transport=Transport(session=session))
    assert [(e.method, e.path, e.token_number) for e in sandbox.api_requests] == [("GET", "/tariffs.wsdl", 1)]
    sandbox.api_requests.clear()
    return client


def area(body: bytes) -> str | None:
    """What a SOAP request asked for."""
    return etree.fromstring(body).findtext(".//{urn:tariffs}area")


def test_a_call_bears_the_token(sandbox: Sandbox, client: zeep.Client) -> None:
    """The WSDL and each call bear the token, and the session's Accept header stands."""
    sandbox.answer_next_api_requests(1, 200, body=TOLD, headers=XML)
    assert str(client.service.Ask(area="north")) == "0.31"
    [call] = sandbox.api_requests
    assert (call.method, call.path, area(call.body), call.token_number) == ("POST", "/soap", "north", 1)
    assert (call.headers["Accept"], call.headers["SOAPAction"]) == ("text/xml", '"urn:tariffs/Ask"')
    assert call.headers["User-Agent"].startswith("Zeep/")
    assert len(sandbox.token_requests) == 1


def test_a_refused_call_is_replayed(sandbox: Sandbox, client: zeep.Client) -> None:
    """A call whose token was revoked is sent again with the same body; zeep sees the answer only."""
    sandbox.answer_next_api_requests(1, 401)
    sandbox.answer_next_api_requests(1, 200, body=TOLD, headers=XML)
    assert str(client.service.Ask(area="north")) == "0.31"
    assert [(area(call.body), call.token_number) for call in sandbox.api_requests] == [("north", 1), ("north", 2)]


def test_without_a_header_of_its_own_it_accepts_json(sandbox: Sandbox, session: GopacsSession, tmp_path: Path) -> None:
    """zeep names no Accept, so the session's application/json goes out: set one on the session for SOAP."""
    (tmp_path / "tariffs.wsdl").write_text(WSDL.format(location=f"{sandbox.api_url}/soap"))
    client = zeep.Client(str(tmp_path / "tariffs.wsdl"), transport=Transport(session=session))
    sandbox.answer_next_api_requests(1, 200, body=TOLD, headers=XML)
    client.service.Ask(area="north")
    assert [call.headers["Accept"] for call in sandbox.api_requests] == ["application/json"]


def test_a_wsdl_that_points_to_another_environment(tmp_path: Path) -> None:
    """A WSDL of acceptance that names production's address is found out before anything is sent."""
    (tmp_path / "tariffs.wsdl").write_text(WSDL.format(location="https://api.gopacs-services.eu/soap"))
    with GopacsSession("trader", "s3cret", ACCEPTANCE) as session:
        client = zeep.Client(str(tmp_path / "tariffs.wsdl"), transport=Transport(session=session))
        with pytest.raises(WrongEnvironmentError, match=PRODUCTION.name):
            client.service.Ask(area="north")
