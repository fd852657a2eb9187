"""What an administrator of the realm does, through Keycloak's Admin REST API."""

from __future__ import annotations

import time
from typing import Any

import requests

from .server import Keycloak


class Admin:
    """The realm's administrator, by a GopacsSession of its own."""

    def __init__(self, keycloak: Keycloak) -> None:
        self._session, self._url = keycloak.session("admin"), keycloak.admin_url

    def close(self) -> None:
        self._session.close()

    def enable(self, client_id: str, enabled: bool) -> None:
        """Enable or disable a client."""
        [client] = self._call("GET", "/clients", params={"clientId": client_id}).json()
        self._change(f"/clients/{client['id']}", enabled=enabled)

    def revoke_tokens(self) -> None:
        """Refuse all tokens that anybody got until now."""
        # Keycloak counts in seconds, and of the tokens issued in the second of a not-before it refuses none.
        begins = int(time.time()) + 1
        time.sleep(max(0.0, begins - time.time()))
        self._change("", notBefore=begins)

    def rotate_keys(self) -> None:
        """Sign with a new key; tokens of the old ones verify no longer."""
        provider = "org.keycloak.keys.KeyProvider"
        keys = self._call("GET", "/components", params={"type": provider}).json()
        old = [key for key in keys if key["providerId"] == "rsa-generated"]
        priority = 1 + max(int(key["config"]["priority"][0]) for key in old)
        settings = {"priority": [str(priority)], "enabled": ["true"], "active": ["true"]}
        key = {"name": f"rsa-{priority}", "providerId": "rsa-generated", "providerType": provider, "config": settings}
        self._call("POST", "/components", json=key)
        for retired in old:
            self._call("DELETE", f"/components/{retired['id']}")

    def _change(self, path: str, **settings: Any) -> None:
        self._call("PUT", path, json={**self._call("GET", path).json(), **settings})

    def _call(self, method: str, path: str, **options: Any) -> requests.Response:
        response = self._session.request(method, self._url + path, **options)
        response.raise_for_status()
        return response
