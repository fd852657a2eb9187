"""zeep: a SOAP client that sends through the session."""

from __future__ import annotations

import zeep
from lxml import etree
from zeep.transports import Transport

from gopacs_session import GopacsSession
from gopacs_session.sandbox import Sandbox

WSDL = """<definitions xmlns="http://schemas.xmlsoap.org/wsdl/" xmlns:soap="http://schemas.xmlsoap.org/wsdl/soap/"
    xmlns:xsd="http://www.w3.org/2001/XMLSchema" xmlns:t="urn:tariffs" targetNamespace="urn:tariffs">
  <types><xsd:schema targetNamespace="urn:tariffs">
    <xsd:element name="Area" type="xsd:string"/>
    <xsd:element name="Tariff" type="xsd:decimal"/>
  </xsd:schema></types>
  <message name="Question"><part name="area" element="t:Area"/></message>
  <message name="Answer"><part name="tariff" element="t:Tariff"/></message>
  <portType name="Tariffs">
    <operation name="Ask"><input message="t:Question"/><output message="t:Answer"/></operation>
  </portType>
  <binding name="Binding" type="t:Tariffs">
    <soap:binding transport="http://schemas.xmlsoap.org/soap/http"/>
    <operation name="Ask">
      <soap:operation soapAction="urn:tariffs/Ask"/>
      <input><soap:body use="literal"/></input><output><soap:body use="literal"/></output>
    </operation>
  </binding>
  <service name="Service"><port name="Port" binding="t:Binding"><soap:address location="{url}"/></port></service>
</definitions>"""
TARIFF = b"""<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body>
  <Tariff xmlns="urn:tariffs">0.31</Tariff>
</s:Body></s:Envelope>"""
XML = {"Content-Type": "text/xml; charset=utf-8"}


def area(body: bytes) -> str | None:
    """What a SOAP request asked for."""
    return etree.fromstring(body).findtext(".//{urn:tariffs}Area")


def test_calls_bear_the_token(sandbox: Sandbox, session: GopacsSession) -> None:
    """The WSDL and each call bear the token and the session's Accept; a call that was refused is replayed."""
    session.headers["Accept"] = "text/xml"
    sandbox.answer_next_api_requests(1, 200, body=WSDL.format(url=f"{sandbox.api_url}/soap").encode(), headers=XML)
    client = zeep.Client(f"{sandbox.api_url}/tariffs.wsdl", transport=Transport(session=session))
    sandbox.answer_next_api_requests(1, 401)
    sandbox.answer_next_api_requests(1, 200, body=TARIFF, headers=XML)
    assert str(client.service.Ask("north")) == "0.31"
    wsdl, *calls = sandbox.api_requests
    assert (wsdl.method, wsdl.path, wsdl.token_number) == ("GET", "/tariffs.wsdl", 1)
    assert [(call.path, area(call.body), call.token_number) for call in calls] == [
        ("/soap", "north", 1),
        ("/soap", "north", 2),
    ]
    assert {call.headers["Accept"] for call in calls} == {"text/xml"}
