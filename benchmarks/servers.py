"""The other ends: nginx where the server must not be the limit, the sandbox where a token request must take time."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import socket
import ssl
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import certifi
import trustme
from contenders import Service

from gopacs_session.sandbox import Sandbox

NGINX = """
daemon off; master_process off; pid {directory}/nginx.pid; error_log stderr crit;
events {{ worker_connections 1024; }}
http {{
  access_log off; default_type application/json; keepalive_timeout 1h; keepalive_requests 1000000000;
  client_body_temp_path {directory}; proxy_temp_path {directory}; fastcgi_temp_path {directory};
  uwsgi_temp_path {directory}; scgi_temp_path {directory};
  ssl_certificate {directory}/server.pem; ssl_certificate_key {directory}/server.pem;
  server {{ listen 127.0.0.1:{ports[0]} ssl; return 200 '{token}'; }}
  server {{
    listen 127.0.0.1:{ports[1]} ssl;
    if ($http_authorization = "") {{ return 401; }}
    return 200 '{{"participants": []}}';
  }}
}}
"""
TOKEN = f'{{"access_token": "{"n" * 1200}", "token_type": "Bearer", "expires_in": 86400}}'  # as long as Keycloak's


class Nginx:
    """A token endpoint and an API, on two ports, that answer at once and always the same.

    Attributes:
        service: where they are.
        ca: the authority that their certificate is from, in PEM.
    """

    def __init__(self, directory: Path) -> None:
        search = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"])
        program = shutil.which("nginx", path=search)
        if program is None:
            raise SystemExit("The benchmarks need nginx: apt-get install nginx, or brew install nginx.")
        ca = trustme.CA()
        self.ca = ca.cert_pem.bytes().decode()
        ca.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(directory / "server.pem")
        self._ports = _free_ports(2)
        config = directory / "nginx.conf"
        config.write_text(NGINX.format(directory=directory, ports=self._ports, token=TOKEN), encoding="utf-8")
        self._command = [program, "-e", "stderr", "-p", str(directory), "-c", str(config)]
        token_url, api_url = (f"https://localhost:{port}" for port in self._ports)
        self.service = Service(f"{token_url}/token", f"{api_url}/participants", "my-api-client", "its-secret")
        self.version = subprocess.run([program, "-v"], capture_output=True, text=True).stderr.partition("/")[2].strip()

    def start(self) -> None:
        self._process = subprocess.Popen(self._command)
        for port in self._ports:
            self._shake_hands(port)

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait()

    def restart(self) -> None:
        """Close every connection."""
        self.stop()
        self.start()

    def cpu(self) -> float:
        """Seconds of CPU that it has taken since it started."""
        user, system = Path(f"/proc/{self._process.pid}/stat").read_text("utf-8").rpartition(")")[2].split()[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")

    def _shake_hands(self, port: int) -> None:
        context = ssl.create_default_context(cadata=self.ca)
        deadline = time.monotonic() + 10
        while True:
            try:
                with socket.create_connection(("localhost", port)) as wire:
                    context.wrap_socket(wire, server_hostname="localhost").close()
                return
            except ConnectionRefusedError:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise SystemExit("nginx did not start.") from None
                time.sleep(0.005)


def _free_ports(number: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(number)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


class Remote:
    """The sandbox in a process of its own, so that what is measured shares no interpreter with it."""

    def __init__(self, pipe: Connection, service: Service) -> None:
        self._pipe, self.service = pipe, service

    def ask(self, question: str, *arguments: Any) -> Any:
        self._pipe.send((question, *arguments))
        return self._pipe.recv()

    def delay(self, seconds: float) -> None:
        """Seconds that each token request takes from now on."""
        self.ask("delay", seconds)

    def count(self) -> tuple[int, int]:
        """Token requests, and API requests without a good token, since the last call."""
        token_requests, refused = self.ask("count")
        return token_requests, refused


def _serve(pipe: Connection) -> None:
    with Sandbox() as sandbox:
        service = Service(sandbox.environment.token_url, sandbox.api_url, sandbox.client_id, sandbox.client_secret)
        pipe.send((service, Path(sandbox.ca_file).read_text("utf-8")))
        while (message := pipe.recv())[0] != "stop":
            answer: Any = None
            if message[0] == "delay":
                sandbox.token_delay = message[1]
            elif message[0] == "count":
                answer = len(sandbox.token_requests), sum(request.status == 401 for request in sandbox.api_requests)
                sandbox.token_requests.clear()
                sandbox.api_requests.clear()
            pipe.send(answer)


@contextmanager
def running() -> Iterator[tuple[Nginx, Remote]]:
    """Both until the end of the block, and a CA bundle of the usual size that holds their authorities, too."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs,), daemon=True)
    with tempfile.TemporaryDirectory() as name:
        nginx, bundle = Nginx(Path(name)), Path(name, "bundle.pem")
        nginx.start()
        process.start()
        try:
            service, ca = ours.recv()
            bundle.write_text("\n".join([Path(certifi.where()).read_text("utf-8"), nginx.ca, ca]), encoding="utf-8")
            os.environ["REQUESTS_CA_BUNDLE"] = os.environ["SSL_CERT_FILE"] = str(bundle)  # The latter is for httpx.
            yield nginx, Remote(ours, service)
        finally:
            nginx.stop()
            ours.send(("stop",))
            process.join(10)
