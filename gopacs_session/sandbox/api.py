"""What the protected API answers (RFC 6750 section 3)."""

from __future__ import annotations

import base64
import re
from typing import Any

from .exchange import Answer, Exchange, Headers, make_answer, page

INVALID_TOKEN = ', error="invalid_token", error_description="Token verification failed"'
INSUFFICIENT_SCOPE = ', error="insufficient_scope", error_description="Missing role"'


def api_answer(request: Exchange, token_number: int, token_is_good: bool) -> Answer:
    """What `request` gets: a challenge, the status that its path asks for, or what came in.

    Args:
        token_number: of the token that the request bears, or 0.
        token_is_good: whether that token is neither expired nor revoked.
    """
    if not (request.authorization or "").lower().startswith("bearer "):
        return _challenge(401, "")
    if not token_is_good:
        return _challenge(401, INVALID_TOKEN)
    if request.path.startswith("/forbidden"):
        return _challenge(403, INSUFFICIENT_SCOPE)
    if asked := re.fullmatch(r"/status/([45][0-9]{2})", request.path):
        status = int(asked[1])
        return make_answer(status, page(status))
    return make_answer(200, _echo(request, token_number))


def _challenge(status: int, error: str) -> Answer:
    return make_answer(status, None, {"WWW-Authenticate": f'Bearer realm="gopacs"{error}'})


def _echo(request: Exchange, token_number: int) -> dict[str, Any]:
    headers = Headers(request.headers).masked(f"Bearer <token {token_number}>")
    echo = {"method": request.method, "path": request.path, "query": request.query, "headers": headers}
    try:
        return {**echo, "body": request.body.decode()}
    except UnicodeDecodeError:
        return {**echo, "body_base64": base64.b64encode(request.body).decode()}
