"""One harmless request to the token endpoint, by the very way that requests takes, and what is learnt on the way."""

from __future__ import annotations

import os
import re
import ssl
import warnings
from contextlib import suppress
from dataclasses import dataclass, field
from time import time
from typing import Any

import requests
from requests.utils import DEFAULT_CA_BUNDLE_PATH, select_proxy
from urllib3.exceptions import InsecureRequestWarning

from .certificate import Certificate

TIMEOUT = 10  # seconds


@dataclass(frozen=True)
class Route:
    """How requests gets to a URL.

    Attributes:
        settings: stream, proxies, verify and cert, for :meth:`requests.Session.send`.
        proxy: its URL without credentials; None if there is none.
        ca_bundle: path of a file or directory.
        ca_source: who named that path.
    """

    settings: dict[str, Any] = field(repr=False)
    proxy: str | None
    ca_bundle: str
    ca_source: str

    @classmethod
    def to(cls, url: str, session: requests.Session) -> Route:
        """The route that `session` takes to `url`."""
        settings = session.merge_environment_settings(url, {}, True, None, None)
        proxy = select_proxy(url, settings["proxies"])
        names = [name for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE") if os.environ.get(name)]
        return cls(
            settings=dict(settings),
            proxy=re.sub(r"^([a-z0-9+.-]+://)?.*@", r"\1", proxy, flags=re.IGNORECASE) if proxy else None,
            ca_bundle=DEFAULT_CA_BUNDLE_PATH if settings["verify"] is True else settings["verify"],
            ca_source=names[0] if names else "certifi's, which requests brings",
        )

    def ca_fault(self) -> str | None:
        """What is wrong with the CA bundle."""
        option = "capath" if os.path.isdir(self.ca_bundle) else "cafile"
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(**{option: self.ca_bundle})
        except ssl.SSLError:
            return "holds no certificate"
        except OSError as error:
            return f"cannot be read: {error.strerror}"
        return None


@dataclass
class Probe:
    """What a request met.

    Attributes:
        certificate (Certificate | None): the server's, if it can be read.
        protocol (str | None): such as ``"TLSv1.3"``.
        date (str | None): the answer's Date header (RFC 9110 section 6.6.1).
        sent, received (float): seconds since the epoch, by this machine's clock.
    """

    certificate: Certificate | None = None
    protocol: str | None = None
    date: str | None = None
    sent: float = 0
    received: float = 0


def probe(session: requests.Session, url: str, route: Route) -> Probe:
    """Send a GET without any credentials, which a token endpoint refuses.

    Raises:
        requests.RequestException: it could not be sent, or was not answered.
    """
    found = Probe()
    _send(session, url, route.settings, found)
    return found


def untrusted_certificate(session: requests.Session, url: str, route: Route) -> Certificate | None:
    """The certificate of a server that is not trusted; nothing that needs protection is sent to it."""
    found = Probe()
    with warnings.catch_warnings(), suppress(requests.RequestException):
        warnings.simplefilter("ignore", InsecureRequestWarning)
        _send(session, url, {**route.settings, "verify": False}, found)
    return found.certificate


def _send(session: requests.Session, url: str, settings: dict[str, Any], found: Probe) -> None:
    request = requests.Request("GET", url, headers={"Accept": "application/json"}).prepare()
    pool = session.get_adapter(url).get_connection_with_tls_context(  # type: ignore[attr-defined]
        request, settings["verify"], proxies=settings["proxies"], cert=settings["cert"]
    )

    class Connection(pool.ConnectionCls):  # type: ignore[misc,name-defined]
        def connect(self) -> None:
            super().connect()
            found.protocol = self.sock.version()
            found.certificate = Certificate.parse(self.sock.getpeercert(True))

    pool.ConnectionCls = Connection  # The adapter takes the same pool for the same settings.
    found.sent = time()
    with session.send(request, timeout=TIMEOUT, allow_redirects=False, **settings) as response:
        found.received = time()
        found.date = response.headers.get("Date")
