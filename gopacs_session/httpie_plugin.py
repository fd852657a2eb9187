"""``http -A gopacs URL``: HTTPie with the settings of the environment variables."""

import os

from httpie.plugins import AuthPlugin

from .auth import GopacsAuth


class GopacsAuthPlugin(AuthPlugin):  # type: ignore[misc]  # HTTPie has no types.
    name = "GOPACS"
    auth_type = "gopacs"
    auth_require = auth_parse = False

    def get_auth(self, username: str | None = None, password: str | None = None) -> GopacsAuth:
        auth = GopacsAuth.from_env()
        if auth.environment.ca_bundle:
            os.environ["REQUESTS_CA_BUNDLE"] = auth.environment.ca_bundle  # It is HTTPie that sends the API request.
        return auth
