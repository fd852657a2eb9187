"""A local authorization server and a protected API, over TLS on loopback, for tests, demos and trying out.

::

    with Sandbox() as sandbox, sandbox.session() as session:
        session.get(sandbox.api_url + "/messages").raise_for_status()

Below ``/realms/`` it answers as Keycloak 26.7 does. Every other path is the API, which tells in JSON what it received,
or refuses as RFC 6750 says: 401 without a good token, 403 for ``/forbidden…``. ``/status/404`` gets a 404, and so on
for all of 4xx and 5xx. Needs ``pip install 'gopacs_session[sandbox]'``.
"""

from .controls import Sandbox as Sandbox
from .exchange import Exchange as Exchange
