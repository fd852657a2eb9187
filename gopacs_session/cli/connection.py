"""The first steps of ``check``: from this machine to the token endpoint, before any credentials are sent."""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Iterator
from datetime import datetime, timezone
from urllib.parse import urlsplit

import requests

from ..exceptions import ConfigurationError
from ..session import GopacsSession
from ..tracebacks import causes, reason
from .exit_code import ExitCode
from .route import Probe, Route, issuer, probe, untrusted_issuer
from .step import Step
from .terminal import printable

DO_TRUST = "If that is your company's proxy, have GOPACS_CA_BUNDLE name a file with its CA certificate (PEM)."
ANOTHER_SERVER = "Another server answers here: check the URL, and who resolves its name."
TLS_ADVICE = {  # by the codes of OpenSSL's X509_verify_cert
    9: "Check this machine's clock.",
    10: "Check this machine's clock; if it is right, the server or the proxy needs a new certificate.",
    62: ANOTHER_SERVER,
    64: ANOTHER_SERVER,  # by its IP address
}
PROXY_ADVICE = {  # by the first digits of the status with which a proxy refuses to connect
    "407": "The proxy wants a user and a password, or other ones: see HTTPS_PROXY.",
    "4": "The proxy blocks this host: ask your network department, or name the host in NO_PROXY if it can do without.",
    "5": "The proxy cannot reach this host: ask your network department, or see whether another proxy is needed.",
}


class Connection:
    """What lies between a session and its token endpoint.

    Attributes:
        probe: what the last of the steps met, if it passed.
    """

    def __init__(self, session: GopacsSession) -> None:
        self._session = session
        parts = urlsplit(session.environment.token_url)
        self._host, self._port = parts.hostname or "", parts.port or 443
        self._where = f"[{self._host}]:{self._port}" if ":" in self._host else f"{self._host}:{self._port}"
        self._route: Route
        self.probe: Probe

    def steps(self) -> Iterator[Step]:
        """Each relies on those before it."""
        yield self._network()
        yield self._name()
        yield self._tls()

    def _network(self) -> Step:
        try:
            self._route = route = Route.to(self._session.environment.token_url, self._session)
        except ConfigurationError as error:
            return Step("network", False, str(error), "", ExitCode.CONFIGURATION)
        proxy = str(route.proxy) if route.proxy else None
        text = f"proxy {proxy}" if proxy else "no proxy"
        text += f"\nCA bundle {route.ca_bundle} ({route.ca_source or 'certifi, which requests brings'})"
        details = {"proxy": proxy, "ca_bundle": route.ca_bundle}
        fault = route.ca_fault()
        if fault:
            advice = f"{route.ca_source} must name a file of certificates (PEM) or a directory made by openssl rehash."
            return Step("network", False, f"{text}\nThe CA bundle {fault}.", advice, ExitCode.CONFIGURATION, details)
        return Step("network", True, text, details=details)

    def _name(self) -> Step:
        if not self._route.resolves_names:
            return Step("name", None, f"{self._host} is left to the proxy to resolve")
        try:
            found = socket.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            advice = "Check the name, this machine's DNS, and whether HTTPS_PROXY should name a proxy."
            return Step("name", False, f"{self._host}: {reason(error)}", advice, ExitCode.NO_TOKEN)
        addresses = sorted({str(address[0]) for *_, address in found})
        return Step("name", True, f"{self._host} is {', '.join(addresses)}", details={"addresses": addresses})

    def _tls(self) -> Step:
        try:
            self.probe = probe(self._session, self._session.environment.token_url, self._route)
        except requests.RequestException as error:
            return self._unreached(error)
        protocol, certificate = self.probe.protocol, self.probe.certificate
        if not (protocol and certificate):
            return Step("TLS", True, "the certificate is trusted")
        expires = datetime.fromtimestamp(ssl.cert_time_to_seconds(certificate["notAfter"]), timezone.utc)
        days = (expires - datetime.now(timezone.utc)).days
        by = printable(issuer(certificate))
        text = f"{protocol}, certificate by {by}, until {expires:%Y-%m-%d} ({days} days)"
        return Step("TLS", True, text, details={"protocol": protocol, "issuer": by, "expires": expires.isoformat()})

    def _unreached(self, error: requests.RequestException) -> Step:
        proxy = self._route.proxy
        for cause in causes(error):
            if isinstance(cause, ssl.SSLCertVerificationError):
                return self._untrusted(cause, isinstance(error, requests.exceptions.ProxyError))
        where = f"{self._where} through {proxy}" if proxy else self._where
        words = printable(reason(error))
        advice = "Check firewalls, and whether a proxy is needed (HTTPS_PROXY) or not (NO_PROXY)."
        if "SOCKS support" in words:
            advice = "pip install 'requests[socks]'"
        elif proxy:
            advice = _proxy_advice(words)
        return Step("TLS", False, f"{where}: {words}", advice, ExitCode.NO_TOKEN)

    def _untrusted(self, error: ssl.SSLCertVerificationError, by_proxy: bool) -> Step:
        proxy, route = self._route.proxy, self._route
        text, name = error.verify_message, None
        if proxy and by_proxy:
            text = f"the proxy {proxy}: {text}"
            name = untrusted_issuer(str(proxy.host).strip("[]"), proxy.port or 443)
        elif proxy is None or proxy.scheme == "http":
            name = untrusted_issuer(self._host, self._port, proxy)
        text += f"\ncertificate by {printable(name)}" if name else ""
        advice = TLS_ADVICE.get(error.verify_code, DO_TRUST)
        if advice == DO_TRUST and route.ca_source:
            advice = f"{route.ca_source} names {route.ca_bundle}, which lacks that CA: add it if it is your company's."
        elif advice == ANOTHER_SERVER and by_proxy:
            advice = advice.replace("the URL", "HTTPS_PROXY")
        return Step("TLS", False, text, advice, ExitCode.NO_TOKEN, {"issuer": name} if name else {})


def _proxy_advice(words: str) -> str:
    refusal = re.search(r"Tunnel connection failed: (\d+)", words)
    for status, advice in PROXY_ADVICE.items():
        if refusal and refusal[1].startswith(status):
            return advice
    return "Check HTTPS_PROXY: its scheme, host and port, and its user and password if it wants them."
