"""The other end: nginx, which is faster than any client, before an authorization server that takes its time."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.connection import Connection
from pathlib import Path

import certifi
import requests
import trustme
from requests.adapters import HTTPAdapter
from urllib3 import Retry

CONFIG = """
daemon off; master_process off; pid {directory}/pid; error_log stderr crit;
events {{ worker_connections 1024; }}
http {{
  client_body_temp_path {directory}; proxy_temp_path {directory}; fastcgi_temp_path {directory};
  uwsgi_temp_path {directory}; scgi_temp_path {directory};
  keepalive_timeout 1h; keepalive_requests 1000000000;
  log_format short '$uri $status'; access_log {directory}/log short;
  server {{
    listen 127.0.0.1:{port} ssl; ssl_certificate {directory}/server.pem; ssl_certificate_key {directory}/server.pem;
    location = /token {{ proxy_pass http://127.0.0.1:{token_port}; }}
    location / {{ if ($http_authorization = "") {{ return 401; }} return 200 '{{}}'; }}
  }}
}}
"""
TOKEN = {"access_token": "n" * 1200, "token_type": "Bearer", "expires_in": 86400}  # as long as one of Keycloak's
DELAY = 0.2  # seconds that a token request takes


class TokenEndpoint(BaseHTTPRequestHandler):
    """Issues a token to anybody, after a while."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        time.sleep(DELAY)
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(TOKEN).encode())

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def serve_tokens(pipe: Connection) -> None:
    ThreadingHTTPServer.request_queue_size = 256
    with ThreadingHTTPServer(("127.0.0.1", 0), TokenEndpoint) as server:
        pipe.send(server.server_port)
        server.serve_forever()


class Service:
    """A token endpoint, and an API that refuses every request without an Authorization."""

    def __init__(self, directory: Path, port: int) -> None:
        self._log = directory / "log"
        self.token_url, self.api_url = f"https://localhost:{port}/token", f"https://localhost:{port}/participants"

    def counts(self) -> tuple[int, int]:
        """Token requests, and refused API requests, since the last call."""
        lines = Counter(self._log.read_text(encoding="utf-8").splitlines())
        os.truncate(self._log, 0)
        return lines["/token 200"], lines["/participants 401"]


@contextmanager
def running() -> Iterator[Service]:
    """Both servers until the end of the block; requests and httpx trust them, beside a CA bundle of the usual size."""
    program = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")  # where Debian has it, off a user's path
    if program is None:
        raise SystemExit("The benchmarks need nginx: apt-get install nginx-light, or brew install nginx.")
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    tokens = context.Process(target=serve_tokens, args=(theirs,), daemon=True)
    tokens.start()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as name:
        directory, ca = Path(name), trustme.CA()
        ca.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(directory / "server.pem")
        bundle = directory / "bundle.pem"
        shutil.copy(certifi.where(), bundle)
        ca.cert_pem.write_to_path(bundle, append=True)
        os.environ["REQUESTS_CA_BUNDLE"] = os.environ["SSL_CERT_FILE"] = str(bundle)
        config = CONFIG.format(directory=directory, port=port, token_port=ours.recv())
        (directory / "nginx.conf").write_text(config, encoding="utf-8")
        nginx = subprocess.Popen([program, "-e", "stderr", "-p", name, "-c", str(directory / "nginx.conf")])
        try:
            service = Service(directory, port)
            with requests.Session() as session:
                session.mount("https://", HTTPAdapter(max_retries=Retry(10, backoff_factor=0.01)))
                session.get(service.api_url)  # until nginx listens
            yield service
        finally:
            nginx.terminate()
            nginx.wait()
            tokens.terminate()
            tokens.join()
