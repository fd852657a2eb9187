"""Whether the environment may name a proxy, for which requests goes through all of it, twice for each request."""

from __future__ import annotations

import os
import urllib.request

from requests.utils import get_environ_proxies as requests_own

# The names of all variables, and what requests looks for proxies with, which people replace. The names are the keys of
# os.environ._data: os.environ decodes them one by one, which is what takes the time. Threads replace a whole tuple.
Surroundings = tuple[list[bytes], object, object]

proxyless: Surroundings | None = None  # The last that were: to compare them is all that most requests have to do.
_others: Surroundings | None = None


def are_proxyless(surroundings: Surroundings) -> bool:
    """Whether requests would find no proxy, since no name ends in ``_proxy``; False where only requests can tell."""
    global proxyless, _others
    if surroundings == _others:
        return False
    names, getproxies, get_environ_proxies = surroundings
    # On Windows and macOS getproxies is another one, and knows the system's settings, too.
    as_usual = getproxies is urllib.request.getproxies_environment and get_environ_proxies is requests_own
    if as_usual and names and not any(name[-6:].lower() == b"_proxy" for name in names):
        proxyless = surroundings
        return True
    _others = surroundings
    return False


# Few environments change after this.
are_proxyless(([*getattr(os.environ, "_data", ())], urllib.request.getproxies, requests_own))
