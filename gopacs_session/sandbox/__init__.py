"""A local authorization server and a protected API, over TLS on loopback, for tests, demos and trying out.

::

    with Sandbox() as sandbox, sandbox.session() as session:
        session.get(sandbox.api_url + "/messages").raise_for_status()

Below ``/realms/`` it answers as Keycloak does. Every other path is the API, which tells in JSON what it received, if
the token is good; ``/forbidden…`` gets a 403, ``/status/404`` a 404, and so on for all of 4xx and 5xx.
"""

from .. import exceptions

try:
    from .controls import Sandbox as Sandbox
    from .https import Exchange as Exchange
except ModuleNotFoundError as error:
    fault = f"The sandbox needs {error.name}: pip install 'gopacs_session[sandbox]'"
    raise exceptions.ConfigurationError(fault) from None
