"""The adapter that a session mounts for https: it loads a CA bundle once, and not for each connection."""

from __future__ import annotations

import os
import ssl
import threading
from typing import Any

from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPSConnection as PlainConnection
from urllib3.connectionpool import HTTPSConnectionPool as PlainPool
from urllib3.poolmanager import PoolManager, ProxyManager
from urllib3.util import ssl_

from .forking import watch

POOL_SIZE = 64  # Threads beyond requests' ten would throw their connections away, and pay a handshake for each request.
MOST_BUNDLES = 8  # A context of a thousand certificates is megabytes, and some name a new file for each request.

# What would change the context: a connection with any of these gets one of its own, as from requests.
OWN_SETTINGS = (
    "ssl_context", "ssl_version", "ssl_minimum_version", "ssl_maximum_version", "assert_hostname", "assert_fingerprint",
    "cert_file", "key_file", "ca_cert_dir", "ca_cert_data",
)  # fmt: skip


class SharedContexts:
    """One :class:`ssl.SSLContext` for each CA bundle, made when the first connection needs it.

    urllib3 loads the bundle into a new context for each connection: 14 ms, mostly under the interpreter's lock.
    requests 2.32.0 shared one context among all sessions of a process, with whatever they loaded into it, and took that
    back in 2.32.5. Here a context belongs to one adapter, holds one bundle as it is on disk and nothing else, and stays
    as it is once a connection has it.
    """

    def __init__(self) -> None:
        self.after_fork()
        watch(self)

    def after_fork(self) -> None:
        # With the contexts, since a thread of the parent may have held a lock of OpenSSL's inside of one.
        self._contexts: dict[str, tuple[object, ssl.SSLContext]] = {}
        self._lock = threading.RLock()  # A signal handler may send a request while its thread loads a bundle.

    def trusting(self, bundle: str) -> ssl.SSLContext | None:
        """The context for a file of CA certificates; None if there can be none, so that urllib3 meets the fault."""
        kind: Any = ssl_.SSLContext  # truststore and pyOpenSSL put others here.
        if not issubclass(kind, ssl.SSLContext):  # pyOpenSSL's can't serve a second connection of urllib3.
            return None
        try:
            found = os.stat(bundle)
            state = (kind, found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
            with self._lock:
                loaded, context = self._contexts.pop(bundle, (None, None))
                if context is None or loaded != state:
                    context = ssl_.create_urllib3_context(cert_reqs=ssl.CERT_REQUIRED)
                    context.load_verify_locations(bundle)
                    context.set_alpn_protocols(ssl_.ALPN_PROTOCOLS)
                    # urllib3 sets them anew for each connection, and frees what another thread may be connecting with
                    # (python/cpython#141012).
                    context.set_alpn_protocols = lambda alpn_protocols: None  # type: ignore[method-assign]
                self._contexts[bundle] = state, context
                if len(self._contexts) > MOST_BUNDLES:
                    del self._contexts[next(iter(self._contexts))]  # the one that was not used for longest
                return context
        except OSError:
            return None


class HTTPSConnection(PlainConnection):
    """A connection that takes its context from `contexts`, unless something about it asks for one of its own.

    It and the pool are called as in urllib3, whose errors show these names.
    """

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


class HTTPSConnectionPool(PlainPool):
    """A pool of such connections."""

    contexts: SharedContexts

    def _new_conn(self, **options: Any) -> Any:  # urllib3-future, which niquests puts in urllib3's place, has some.
        new: Any = super()._new_conn(**options)
        # Some put other classes there: vcrpy does, for all pools or for one.
        if self.ConnectionCls is PlainConnection:
            new.__class__, new.contexts = HTTPSConnection, self.contexts
        return new


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
        pool = {"contexts": SharedContexts()}
        self._pool_class = type("HTTPSConnectionPool", (HTTPSConnectionPool,), pool)
        self._share(self.poolmanager)

    def proxy_manager_for(self, proxy: Any, **options: Any) -> Any:
        """As in requests; one of urllib3's own managers shares the contexts, too."""
        manager = super().proxy_manager_for(proxy, **options)
        if type(manager) is ProxyManager:
            self._share(manager)
        return manager

    def _share(self, manager: PoolManager) -> None:
        manager.pool_classes_by_scheme = {**manager.pool_classes_by_scheme, "https": self._pool_class}
