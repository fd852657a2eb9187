"""The session's parent: OAuth2Session of requests-oauthlib, and what type checkers take it for."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from requests import Response, Session
    from requests import _types as of_requests  # Private, but all that tells what the methods take.
    from typing_extensions import Unpack

    class Options(of_requests.RequestKwargs, total=False):
        withhold_token: bool

    class GetOptions(of_requests.GetKwargs, total=False):
        withhold_token: bool

    class PostOptions(of_requests.PostKwargs, total=False):
        withhold_token: bool

    class DataOptions(of_requests.DataKwargs, total=False):
        withhold_token: bool

    class OAuth2Session(Session):
        """A :class:`requests.Session` whose methods know `withhold_token`.

        The real one has types only where types-requests-oauthlib is installed. Elsewhere, a class that has it among its
        bases would have every attribute that anybody asks for, of type Any.
        """

        @property
        def authorized(self) -> bool: ...

        def get(
            self, url: of_requests.UriType, params: of_requests.ParamsType = None, **options: Unpack[GetOptions]
        ) -> Response: ...

        def options(self, url: of_requests.UriType, **options: Unpack[Options]) -> Response: ...

        def head(self, url: of_requests.UriType, **options: Unpack[Options]) -> Response: ...

        def post(
            self,
            url: of_requests.UriType,
            data: of_requests.DataType = None,
            json: of_requests.JsonType = None,
            **options: Unpack[PostOptions],
        ) -> Response: ...

        def put(
            self, url: of_requests.UriType, data: of_requests.DataType = None, **options: Unpack[DataOptions]
        ) -> Response: ...

        def patch(
            self, url: of_requests.UriType, data: of_requests.DataType = None, **options: Unpack[DataOptions]
        ) -> Response: ...

        def delete(self, url: of_requests.UriType, **options: Unpack[Options]) -> Response: ...

else:
    from requests_oauthlib import OAuth2Session as OAuth2Session
