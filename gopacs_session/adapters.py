"""The adapter that a session mounts for https, which loads a CA bundle once; and what a forked child does with any."""

import os
import ssl
import threading
from contextlib import suppress
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.util import ssl_

POOL_SIZE = 64  # Threads beyond requests' ten would throw their connections away, and pay a handshake for each request.


class SharedContextAdapter(HTTPAdapter):
    """An :class:`requests.adapters.HTTPAdapter` whose connections to one CA bundle share one TLS context.

    urllib3 loads it for each connection: 14 ms, mostly under the interpreter's lock. Without verification, with a
    client certificate, or with settings of its pool's, a connection gets a context of its own, as from requests.
    """

    def init_poolmanager(self, connections: int, maxsize: int, block: bool = False, **settings: Any) -> None:
        super().init_poolmanager(connections, maxsize, block, **settings)
        self._settings = settings  # Some of them change contexts.
        self.forget_contexts()

    def forget_contexts(self) -> None:
        """Load each bundle again when a connection needs it."""
        self._contexts: dict[str, tuple[object, ssl.SSLContext]] = {}
        self._lock = threading.RLock()  # A signal handler may send a request while its thread loads a bundle.

    def build_connection_pool_key_attributes(self, request: Any, verify: Any, cert: Any = None) -> Any:
        """As in requests, with the shared context among what distinguishes pools."""
        host, pool = super().build_connection_pool_key_attributes(request, verify, cert)
        if host["scheme"] == "https" and verify and not (cert or self._settings or ssl_.IS_PYOPENSSL):
            default = requests.adapters.DEFAULT_CA_BUNDLE_PATH  # type: ignore[attr-defined]  # Now: people patch it.
            context = self._context(default if verify is True else verify)
            if context is not None:
                pool["ssl_context"] = context
        return host, pool

    def _context(self, bundle: str) -> ssl.SSLContext | None:
        """The context that trusts a file or directory; None if it can't be loaded, so that requests meets the fault."""
        try:
            found = os.stat(bundle)
            state = found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
            with self._lock:
                loaded, context = self._contexts.get(bundle, (None, None))
                if context is None or loaded != state:
                    context = _load(bundle)
                    self._contexts[bundle] = state, context
            return context
        except OSError:
            return None


def _load(bundle: str) -> ssl.SSLContext:
    context = ssl_.create_urllib3_context(cert_reqs=ssl.CERT_REQUIRED)
    context.load_verify_locations(**{"capath" if os.path.isdir(bundle) else "cafile": bundle})
    context.set_alpn_protocols(ssl_.ALPN_PROTOCOLS)
    # urllib3 does both anew for each connection. Loading takes the time; setting the protocols frees what another
    # thread may be connecting with (python/cpython#141012).
    vars(context).update(load_verify_locations=lambda *_: None, set_alpn_protocols=lambda _: None)
    return context


def forget_connections(session: requests.Session) -> None:
    """In a forked child, let a session share no connection and no lock with the parent process."""
    session.cookies._cookies_lock = threading.RLock()
    for adapter in session.adapters.values():
        if isinstance(adapter, SharedContextAdapter):
            adapter.forget_contexts()  # A thread of the parent may have held a lock of OpenSSL's inside of one.
        with suppress(Exception):  # An adapter of the user's may have no such pools.
            for manager in (adapter.poolmanager, *adapter.proxy_manager.values()):  # type: ignore[attr-defined]
                manager.pools.lock = threading.RLock()
                for pool in manager.pools._container.values():
                    connections = pool.pool.queue
                    pool.pool.__init__(pool.pool.maxsize)  # It has locks, too.
                    pool.pool.queue = connections
            adapter.close()  # This process's copies alone: the parent's connections stay open.
