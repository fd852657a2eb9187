"""The adapter that a session mounts for https: it loads a CA bundle once, and not for each connection."""

from __future__ import annotations

import os
import ssl
import threading
from typing import Any

from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPSConnection
from urllib3.connectionpool import HTTPSConnectionPool
from urllib3.poolmanager import PoolManager, ProxyManager
from urllib3.util.ssl_ import create_urllib3_context

from .forking import watch

POOL_SIZE = 64  # Threads beyond requests' ten would throw their connections away, and pay a handshake for each request.

# What would change the context: a connection with any of these gets one of its own, as from requests.
OWN_SETTINGS = (
    "ssl_context", "ssl_version", "ssl_minimum_version", "ssl_maximum_version", "assert_hostname", "assert_fingerprint",
    "cert_file", "key_file", "ca_cert_dir", "ca_cert_data",
)  # fmt: skip


class SharedContexts:
    """One :class:`ssl.SSLContext` for each CA bundle, made when the first connection needs it.

    urllib3 loads the bundle into a new context for each connection: 20 ms, mostly under the interpreter's lock.
    requests 2.32.0 shared one context among all sessions of a process, with whatever they loaded into it, and took that
    back in 2.32.5. Here a context belongs to one adapter, and holds one bundle as it is on disk and nothing else.
    """

    def __init__(self) -> None:
        self._contexts: dict[str, tuple[object, ssl.SSLContext]] = {}
        self.after_fork()
        watch(self)

    def after_fork(self) -> None:
        self._lock = threading.Lock()

    def trusting(self, bundle: str) -> ssl.SSLContext | None:
        """The context for a file of CA certificates; None if there can be none, so that urllib3 meets the fault."""
        try:
            found = os.stat(bundle)
            on_disk = found.st_mtime_ns, found.st_size, found.st_ino
            with self._lock:
                loaded, context = self._contexts.get(bundle, (None, None))
                if context is None or loaded != on_disk:
                    context = create_urllib3_context(cert_reqs=ssl.CERT_REQUIRED)
                    context.load_verify_locations(bundle)
                    self._contexts[bundle] = on_disk, context
                return context
        except OSError:
            return None


class SharedContextConnection(HTTPSConnection):
    """A connection that takes its context from `contexts`, unless something about it asks for one of its own."""

    contexts: SharedContexts

    def connect(self) -> None:
        bundle, context = self.ca_certs, None
        own = any(getattr(self, name, None) is not None for name in OWN_SETTINGS)
        # A proxy that is reached by TLS is verified with the same bundle, but in a context that urllib3 makes for it.
        own = own or (self.proxy is not None and self.proxy.scheme != "http")
        if bundle and not own and self.cert_reqs in ("CERT_REQUIRED", ssl.CERT_REQUIRED):
            context = self.contexts.trusting(bundle)
        if context is None:
            super().connect()
            return
        self.ssl_context, self.ca_certs = context, None
        try:
            super().connect()
        finally:
            # urllib3 connects again with the same object, and the bundle may have been replaced by then.
            self.ssl_context, self.ca_certs = None, bundle


class _SharedUnlessReplaced:
    """The class of a pool's connections, where nobody has put another one: vcrpy does, for all pools or for one."""

    def __get__(self, pool: object, owner: type[SharedContextPool]) -> type[HTTPSConnection]:
        plain = HTTPSConnectionPool.ConnectionCls
        return owner.shared if plain is HTTPSConnection else plain  # type: ignore[return-value]  # The stub's base class.


class SharedContextPool(HTTPSConnectionPool):
    """A pool of such connections."""

    shared: type[SharedContextConnection]
    ConnectionCls = _SharedUnlessReplaced()


class SharedContextAdapter(HTTPAdapter):
    """An :class:`requests.adapters.HTTPAdapter` that shares a TLS context among its connections to one CA bundle.

    ``verify``, ``cert`` and ``REQUESTS_CA_BUNDLE`` mean what they mean in requests, a bundle that is replaced on disk
    included. A connection without verification, with a client certificate, or with TLS settings of its own gets a
    context of its own, as from requests.
    """

    def __init__(self, pool_maxsize: int = POOL_SIZE) -> None:
        super().__init__(pool_maxsize=pool_maxsize)

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        """As in requests, which calls it when an adapter is made, and when it comes out of a pickle."""
        super().init_poolmanager(*args, **options)
        connection = type("Connection", (SharedContextConnection,), {"contexts": SharedContexts()})
        self._pool_class = type("Pool", (SharedContextPool,), {"shared": connection})
        self._share(self.poolmanager)

    def proxy_manager_for(self, proxy: Any, **options: Any) -> Any:
        """As in requests; one of urllib3's own managers shares the contexts, too."""
        manager = super().proxy_manager_for(proxy, **options)
        if type(manager) is ProxyManager:
            self._share(manager)
        return manager

    def _share(self, manager: PoolManager) -> None:
        manager.pool_classes_by_scheme = {**manager.pool_classes_by_scheme, "https": self._pool_class}
