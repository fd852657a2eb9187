"""A sandbox's certificate authority, and how any session trusts it."""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import requests
from requests.adapters import HTTPAdapter

from ..exceptions import ConfigurationError


class Authority:
    """A new certificate authority, whose key is never written to a disk.

    Raises:
        ConfigurationError: trustme is not installed.
    """

    def __init__(self) -> None:
        try:
            import trustme
        except ImportError:
            raise ConfigurationError("The sandbox needs trustme: pip install 'gopacs_session[sandbox]'") from None
        self._ca = trustme.CA()

    def server_context(self) -> ssl.SSLContext:
        """For a server on this machine."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._ca.issue_cert("localhost", "127.0.0.1").configure_cert(context)
        return context

    @contextmanager
    def file(self, chosen: str | os.PathLike[str] | None) -> Iterator[str]:
        """A PEM file with the certificate to trust: the chosen one, or a temporary that is gone after the block."""
        if chosen is None:
            with self._ca.cert_pem.tempfile() as path:
                yield path
            return
        path = os.path.abspath(chosen)
        self._ca.cert_pem.write_to_path(f"{path}.new")
        os.replace(f"{path}.new", path)  # In one step: programs may be reading the one of an earlier sandbox.
        yield path


class SandboxAdapter(HTTPAdapter):
    """Trusts one CA, and uses no proxy. REQUESTS_CA_BUNDLE and the proxy variables beat a session's own settings."""

    __attrs__ = [*HTTPAdapter.__attrs__, "_ca_file"]

    def __init__(self, ca_file: str) -> None:
        self._ca_file = ca_file
        super().__init__(pool_maxsize=64)

    def send(self, request: requests.PreparedRequest, *args: Any, **options: Any) -> requests.Response:
        return super().send(request, *args, **{**options, "verify": self._ca_file, "proxies": {}})
