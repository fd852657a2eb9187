"""Whose token it is and what it permits, as the token itself says: decoded, not verified."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

from ..token_response import json_object


def name_and_roles(token: str) -> tuple[str | None, list[str]]:
    """The client's name, and its roles in Keycloak's way; no name if the token is opaque.

    Args:
        token: a JWT (RFC 7519), or any other text.
    """
    claims = _claims(token)
    names = [claims[name] for name in ("azp", "client_id", "preferred_username") if isinstance(claims.get(name), str)]
    return (names[0], _roles(claims)) if names else (None, [])


def _claims(token: str) -> dict[str, Any]:
    payload = token.partition(".")[2].partition(".")[0]
    try:
        return json_object(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except ValueError:
        return {}


def _roles(claims: Mapping[str, Any]) -> list[str]:
    """Realm roles as they are, and those of a client with its name before them."""
    groups = {"": claims.get("realm_access")}
    resources = claims.get("resource_access")
    if isinstance(resources, dict):
        groups |= {f"{client}:": access for client, access in resources.items()}
    return sorted(
        f"{prefix}{role}"
        for prefix, access in groups.items()
        if isinstance(access, dict) and isinstance(access.get("roles"), list)
        for role in access["roles"]
        if isinstance(role, str)
    )
