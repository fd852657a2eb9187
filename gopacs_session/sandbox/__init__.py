"""A local authorization server and a protected API, over TLS on loopback, for tests, demos and trying out.

::

    with Sandbox() as sandbox, sandbox.session() as session:
        session.get(sandbox.api_url + "/messages").raise_for_status()

Below ``/realms/`` it answers as Keycloak 26.7 does. Every other path is the API, which tells in JSON what it received,
or refuses as RFC 6750 says (403 for ``/forbidden…``). Needs ``pip install 'gopacs_session[sandbox]'``.
"""

from .exchange import Exchange as Exchange
from .sandbox import Sandbox as Sandbox
