"""The Authorization header that bears our token: told from others, and kept out of sight."""

from __future__ import annotations

from typing import Any

from requests import PreparedRequest, Response


class Authorization(str):
    """The value of an Authorization header that one of our sessions set (RFC 6750 section 2.1).

    Its class tells it from a header of the user's own, and its repr keeps the token out of printed headers.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return "'Bearer ***'"

    def __deepcopy__(self, memo: dict[int, Any]) -> Authorization:
        return self

    def __reduce__(self) -> tuple[type[str], tuple[str]]:
        # A pickled response can be read where this package is not installed.
        return str, (str(self),)


def bears_token(request: PreparedRequest | None) -> bool:
    """Whether the Authorization is one that a session of ours put there; some adapters tell of no request."""
    return request is not None and isinstance(request.headers.get("Authorization"), Authorization)


def hide_token(response: Response) -> None:
    """Take the token out of an answer that is history: caches store these, and mask only the last request's."""
    if bears_token(response.request):
        response.request = response.request.copy()
        response.request.headers["Authorization"] = "Bearer ***"
