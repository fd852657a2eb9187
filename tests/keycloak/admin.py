"""What an administrator of the realm does, through Keycloak's Admin REST API."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

import requests

ADMIN = "gopacs-admin"

_KEY_PROVIDER = "org.keycloak.keys.KeyProvider"


def plain_session(ca_file: str) -> requests.Session:
    """Return a session that trusts only this CA, whatever the environment says."""
    session = requests.Session()
    session.trust_env = False
    session.verify = ca_file
    return session


class Admin:
    """The administrator of one realm, given as realm.json has it."""

    def __init__(self, server_url: str, realm: dict[str, Any], password: str, ca_file: str) -> None:
        self._realm = realm
        self._url = f"{server_url}/admin/realms/{realm['realm']}"
        self._token_url = f"{server_url}/realms/master/protocol/openid-connect/token"
        self._password = password
        self._http = plain_session(ca_file)

    def restore_realm(self) -> None:
        """Bring realm and clients back to what realm.json says.

        Its keys stay, whichever they are now, and so does the not-before of an account that was logged out.
        """
        self._change("", enabled=True, notBefore=0)
        clients = {client["clientId"]: client for client in self._call("GET", "/clients").json()}
        for client in self._realm["clients"]:
            own = {"secret": client["secret"], "notBefore": 0}
            now = clients[client["clientId"]]
            if own != {name: now[name] for name in own}:
                self._change(f"/clients/{now['id']}", **own)

    def revoke_tokens(self, client_id: str | None = None) -> None:
        """Refuse all tokens the client, or the whole realm, got until now."""
        self._change(self._client(client_id) if client_id else "", notBefore=_next_second())

    def log_out(self, client_id: str) -> None:
        """End the sessions of the client's service account, and with them all tokens it got until now."""
        user = self._call("GET", f"{self._client(client_id)}/service-account-user").json()
        # This sets a not-before of the account, which no API but Keycloak's own learns of.
        _next_second()
        self._call("POST", f"/users/{user['id']}/logout")

    def rotate_keys(self) -> None:
        """Sign with a new key; tokens of the old ones verify no longer."""
        old = self._signing_keys()
        priority = 1 + max(int(key["config"]["priority"][0]) for key in old)
        key = {
            "name": f"rsa-{priority}",
            "providerId": "rsa-generated",
            "providerType": _KEY_PROVIDER,
            "config": {"priority": [str(priority)], "enabled": ["true"], "active": ["true"]},
        }
        self._call("POST", "/components", json=key)
        for retired in old:
            self._call("DELETE", f"/components/{retired['id']}")

    def regenerate_secret(self, client_id: str) -> str:
        """Give the client a new secret and return it; the old one is refused from then on."""
        answer = self._call("POST", f"{self._client(client_id)}/client-secret").json()
        return str(answer["value"])

    def disable_realm(self) -> None:
        """Serve nobody in the realm until it is restored."""
        self._change("", enabled=False)

    def events(self, client_id: str) -> Counter[str]:
        """Count what the client did at the token endpoint: `CLIENT_LOGIN`, `REFRESH_TOKEN`, or these with `_ERROR`."""
        events = self._call("GET", "/events", params={"client": client_id, "max": 10_000}).json()
        return Counter(event["type"] for event in events)

    def forget_events(self) -> None:
        """Count them anew."""
        self._call("DELETE", "/events")

    def _signing_keys(self) -> list[dict[str, Any]]:
        keys = self._call("GET", "/components", params={"type": _KEY_PROVIDER}).json()
        return [key for key in keys if key["providerId"] == "rsa-generated"]

    def _client(self, client_id: str) -> str:
        """Return the path of a client, which has an id of its own in the Admin API."""
        (found,) = self._call("GET", "/clients", params={"clientId": client_id}).json()
        return f"/clients/{found['id']}"

    def _change(self, path: str, **changes: Any) -> None:
        now = self._call("GET", path).json()
        self._call("PUT", path, json={**now, **changes})

    def _call(self, method: str, path: str = "", **options: Any) -> requests.Response:
        headers = {"Authorization": f"Bearer {self._token()}"}
        response = self._http.request(method, self._url + path, headers=headers, timeout=30, **options)
        response.raise_for_status()
        return response

    def _token(self) -> str:
        form = {
            "grant_type": "password",
            "client_id": "admin-cli",
            "username": ADMIN,
            "password": self._password,
        }
        response = self._http.post(self._token_url, data=form, timeout=30)
        response.raise_for_status()
        return str(response.json()["access_token"])


def _next_second() -> int:
    """Wait for the next second to begin and return it: all tokens so far are older, and newer ones are not.

    Keycloak counts in seconds, so of the tokens issued in the second of a not-before it refuses none.
    """
    begins = int(time.time()) + 1
    while (left := begins - time.time()) > 0:
        time.sleep(left)
    return begins
