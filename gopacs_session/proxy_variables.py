"""Whether the environment may name a proxy, for which requests goes through all of it, twice for each request."""

from __future__ import annotations

import os
import urllib.request
from functools import lru_cache

from requests.utils import get_environ_proxies as as_in_requests


@lru_cache(maxsize=8)  # Each request asks, and few environments change.
def name_none(names: tuple[bytes, ...], getproxies: object, get_environ_proxies: object) -> bool:
    """Whether requests would find no proxy; False where only requests can tell.

    Args:
        names: of all variables: the keys of os.environ._data, since os.environ decodes them one by one, which is what
            takes the time; none where there is no such thing.
        getproxies: by which requests looks for proxies. On Windows and macOS it knows the system's settings, too.
        get_environ_proxies: the same; people replace it.
    """
    as_usual = getproxies is urllib.request.getproxies_environment and get_environ_proxies is as_in_requests
    return as_usual and bool(names) and not any(name[-6:].lower() == b"_proxy" for name in names)


# Few environments change after this.
name_none(tuple(getattr(os.environ, "_data", ())), urllib.request.getproxies, as_in_requests)
