"""How a request bears a token, and how a refusal of it is mended: by another token, and the same request once more."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from io import BytesIO
from mmap import mmap
from time import perf_counter
from typing import Any, Protocol
from urllib.parse import urlsplit

import requests
import urllib3
from requests import PreparedRequest, Response
from requests.adapters import BaseAdapter
from requests.cookies import RequestsCookieJar, extract_cookies_to_jar, get_cookie_header
from requests.exceptions import UnrewindableBodyError
from requests.structures import CaseInsensitiveDict
from requests.utils import rewind_body

from .exceptions import TokenRequestError
from .issued_token import IssuedToken
from .tokens import CurrentToken
from .transport import read_within

log = logging.getLogger("gopacs_session")

MASK = "Bearer ***"
LONGEST_REFUSAL = 65536  # bytes
PATIENCE = 5.0  # seconds for the body of a refusal; by then a new connection is faster
# The error of a challenge (RFC 6750 section 3), or else a quoted string, in which anything may stand. One that does not
# end goes on to the end: looking for its end once more from each quote in it would take minutes.
_ERROR = re.compile(r'(?:^|[\s,])error\s*=\s*"?([a-z_]+)"?|"(?:[^"\\]|\\.)*"?', re.IGNORECASE)


class BearerHeaders(CaseInsensitiveDict[str | bytes]):
    """The headers of a request that bears a token. The value is a plain str; the repr hides it."""

    def copy(self) -> BearerHeaders:
        return BearerHeaders(self.items())

    def __repr__(self) -> str:
        return repr({name: MASK if name.lower() == "authorization" else value for name, value in self.items()})


class Bearer(Protocol):
    """What is needed of the auth object."""

    def get_token(self, refused: IssuedToken | None = None) -> IssuedToken: ...


@dataclass(frozen=True)
class Mending:
    """The response hook of a request that bears a token: a refusal of the token is mended once.

    Args:
        auth: whose token it is.
        tokens: those of `auth`.
        session: whose requests `auth` authenticates; None if that is anybody's.
        token: what was put on the request. With another Authorization, it is the caller's own.
        origin: method and URL at which the request started. With another one, it has been redirected.
    """

    auth: Bearer
    tokens: CurrentToken
    session: requests.Session | None
    token: IssuedToken
    origin: str

    @classmethod
    def of(cls, request: PreparedRequest) -> Mending | None:
        """That of a request which bore a token when it was first sent."""
        return next((hook for hook in request.hooks.get("response", ()) if isinstance(hook, cls)), None)

    def __call__(self, response: Response, **send_options: Any) -> Response:
        # requests-cache calls the hooks once more: here only the answer to a replay has a history. And some adapters
        # leave response.request None.
        if response.status_code not in (401, 403) or response.history or response.request is None:
            return response
        if response.request.headers.get("Authorization") == self.token.authorization and is_refusal(response):
            return self.mend(response, send_options)
        return response

    def mend(self, refusal: Response, send_options: dict[str, Any]) -> Response:
        """The answer to a refused request that is sent once more, with another token; or the refusal, if it can't be.

        Raises:
            TokenRequestError: no other token could be obtained; but not along a redirect, since the request before it
                may have been executed.
        """
        request = refusal.request.copy()
        redirected = f"{request.method} {request.url}" != self.origin
        if self.tokens.is_renewed_in_vain(self.token):
            return not_mended(refusal, "its token is new, and came of another refusal.")
        # Before the renewal: requests-mock restores its adapter after any nested send.
        known = getattr(refusal, "connection", None)  # Some adapters leave it out.
        adapter = known if self.session is None else self.session.get_adapter(str(request.url))
        if adapter is None or not rewind(request):
            self.tokens.refuse(self.token)
            return not_mended(refusal, "the request can't be sent again; the next one gets another token.")
        # Before the renewal, too: the connection may be the only one that a pool gives to both servers.
        release(refusal, read=redirected or not send_options.get("stream"))
        try:
            token = self.auth.get_token(self.token)
        except TokenRequestError as error:
            not_mended(refusal, str(error))
            if redirected:
                return refusal
            raise
        take_cookies(request, refusal)
        self.bear(request, token)
        return replay(request, adapter, send_options, refusal, token)

    def bear(self, request: PreparedRequest, token: IssuedToken) -> None:
        """Put another token on a request that bore one, and mend a refusal of this one."""
        request.headers["Authorization"] = token.authorization
        others = [hook for hook in request.hooks["response"] if not isinstance(hook, Mending)]
        # A new dict, since copies of a request share theirs.
        request.hooks = {**request.hooks, "response": [replace(self, token=token), *others]}

    def __repr__(self) -> str:
        return f"Mending({self.origin!r})"

    def __deepcopy__(self, memo: dict[int, Any]) -> Mending:
        return self  # A copy of the request is to be mended, too.

    def __reduce__(self) -> tuple[Any, ...]:
        # A response refers to its hooks, and when it is pickled the session and its secret must not go along.
        return partial, (as_it_came,)


def as_it_came(response: Response, **_: Any) -> Response:
    """The response hook that mends nothing, for a request that has left its auth object behind."""
    return response


def replay(
    request: PreparedRequest, adapter: BaseAdapter, send_options: dict[str, Any], refusal: Response, token: IssuedToken
) -> Response:
    """The answer to the same request with another token; the refusal goes into its history."""
    started = perf_counter()
    try:
        response = adapter.send(request, **send_options)
    except Exception:
        not_mended(refusal, "it could not be sent again.")
        raise
    response.elapsed = timedelta(seconds=perf_counter() - started)
    if is_refusal(response):
        not_mended(response, "it was sent again with a new token.")
    else:
        token.came_of_a_refusal = False
        url = urlsplit(str(request.url))
        log.info("%s%s refused a token (%d), but not another.", url.hostname, url.path, refusal.status_code)
    hide_token(refusal)
    response.history.append(refusal)
    return response


def not_mended(response: Response, why: str) -> Response:
    """Log that a refusal goes to the caller. Of the URL only host and path: a query may hold anything."""
    url = urlsplit(str(response.request.url))
    log.warning("%s%s refused a token (%d), and that stands: %s", url.hostname, url.path, response.status_code, why)
    return response


def is_refusal(response: Response) -> bool:
    """Whether an API refused the token, and may accept another; some gateways say so with a 403."""
    errors = {error.lower() for error in _ERROR.findall(response.headers.get("WWW-Authenticate", ""))}
    if response.status_code == 401:
        return "insufficient_scope" not in errors
    return "invalid_token" in errors


def rewind(request: PreparedRequest) -> bool:
    """Set the body back to where it stood when it was first sent; False if it can't be."""
    if request.body is None:  # A redirect drops the body, but not where it stood.
        return True
    if isinstance(request.body, mmap):  # requests sends it from where it stands, but keeps that for iterables only.
        request._body_position = len(request.body) - int(request.headers.get("Content-Length", 0))
    if request._body_position is None:
        return isinstance(request.body, str) or _is_bytes_like(request.body)
    try:
        rewind_body(request)
    except (UnrewindableBodyError, ValueError):  # ValueError: the file was closed meanwhile.
        return False
    return True


def _is_bytes_like(body: object) -> bool:
    try:
        memoryview(body)  # type: ignore[arg-type]  # That is the question.
    except TypeError:
        return False
    return True


def release(response: Response, *, read: bool) -> None:
    """Give the connection back to its pool; `read` the body first, up to a limit."""
    if read:
        try:
            response._content = read_within(response, PATIENCE, LONGEST_REFUSAL)
        except (requests.RequestException, urllib3.exceptions.HTTPError, ValueError):
            response._content = b""  # A broken body does not matter: another answer follows.
    response.raw = response.raw or BytesIO()  # An adapter without a connection may leave it None.
    response.close()
    response._content_consumed = True


def take_cookies(request: PreparedRequest, response: Response) -> None:
    """Let `request` bear the cookies of an earlier answer, as :class:`requests.auth.HTTPDigestAuth` does."""
    own, jar = request.headers.pop("Cookie", None), request._cookies or RequestsCookieJar()
    # In any order: before Python 3.11, a copy of a jar has another.
    theirs, ours = (sorted(str(header).split("; ")) for header in (own, get_cookie_header(jar, request)))
    if theirs != ours:
        if own is not None:
            request.headers["Cookie"] = own
        return  # It is the caller's header, which requests leaves alone.
    extract_cookies_to_jar(jar, response.request, response.raw)
    request.prepare_cookies(jar)


def hide_token(response: Response) -> None:
    """Take the token out of an answer that goes into `history`: caches store these, and mask the last request only."""
    if response.request is None:  # Some adapters leave it out.
        return
    hooks = response.request.hooks.get("response", ())
    borne = [hook.token.authorization for hook in hooks if isinstance(hook, Mending)]
    if response.request.headers.get("Authorization") in borne:  # and not the caller's own
        response.request = response.request.copy()
        response.request.headers["Authorization"] = MASK
