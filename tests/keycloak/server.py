"""A real Keycloak, over TLS on loopback, with the realm of realm.json."""

from __future__ import annotations

import json
import os
import re
import secrets
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import final

import requests
import trustme
from support import unassigned_port

from .admin import ADMIN, Admin, plain_session
from .distribution import NEWEST, command, java_environment, keycloak_home

START_TIMEOUT = 180
STOP_TIMEOUT = 30

_REALM_FILE = Path(__file__).with_name("realm.json")


@final
class Keycloak:
    """A Keycloak server that keeps its port, certificates and state when it is stopped and started.

    Args:
        version: 24.0 or later.

    Attributes:
        clients (Mapping[str, str]): the secrets in realm.json, by client id.
        ca (trustme.CA): the authority that issued the server's certificate.
        ca_file (str): its certificate, as `verify` of requests takes it.
        log_file (Path): everything the server has printed.
        admin (Admin): the realm's administrator.
    """

    def __init__(self, version: str = NEWEST) -> None:
        self.version = version
        realm = json.loads(_REALM_FILE.read_text("utf-8"))
        self.clients: Mapping[str, str] = {client["clientId"]: client["secret"] for client in realm["clients"]}
        self._port = unassigned_port()
        self.url = f"https://localhost:{self._port}"
        self.issuer = f"{self.url}/realms/{realm['realm']}"
        self.token_url = f"{self.issuer}/protocol/openid-connect/token"
        self.userinfo_url = f"{self.issuer}/protocol/openid-connect/userinfo"

        self._directory = TemporaryDirectory(prefix="keycloak-")
        self._home = Path(self._directory.name)
        self.log_file = self._home / "keycloak.log"
        self.ca = trustme.CA()
        self.ca_file = str(self._home / "ca.pem")
        self._write_certificates()

        self._admin_password = secrets.token_urlsafe()
        self.admin = Admin(self.url, realm, self._admin_password, self.ca_file)
        self._http = plain_session(self.ca_file)
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Keycloak:
        try:
            self.start()
        except BaseException:
            self._directory.cleanup()
            raise
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()
        self._directory.cleanup()

    def start(self) -> None:
        """Start the server, unless it runs, and return when it answers for the realm."""
        if self._process is not None and self._process.poll() is None:
            return
        self._process = self._launch(keycloak_home(self.version))
        try:
            self._wait_until_ready()
        except BaseException:
            self.kill()
            raise

    def stop(self) -> None:
        """Shut the server down; it keeps its realm, keys and clients for the next start."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End the server at once, as a crash would; what it wrote last may be lost."""
        self._end(signal.SIGKILL)

    def banner(self) -> str:
        """Return what the server printed of itself when it started: its name, its version and what runs it."""
        found = re.search(r"Keycloak \S+ on \w+", self.log_file.read_text("utf-8", "replace"))
        assert found is not None
        return found[0]

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        try:
            os.killpg(process.pid, how)
            process.wait(STOP_TIMEOUT)
        except ProcessLookupError:
            process.wait()
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def _launch(self, distribution: Path) -> subprocess.Popen[bytes]:
        self._lay_out_home(distribution)
        environ = {
            **java_environment(),
            "KC_BOOTSTRAP_ADMIN_USERNAME": ADMIN,
            "KC_BOOTSTRAP_ADMIN_PASSWORD": self._admin_password,
            # What they were called before 26.
            "KEYCLOAK_ADMIN": ADMIN,
            "KEYCLOAK_ADMIN_PASSWORD": self._admin_password,
            # Java compiles for speed what runs but once here; without that a start takes a third less CPU.
            "JAVA_OPTS_APPEND": "-XX:TieredStopAtLevel=1",
        }
        with self.log_file.open("ab") as log:
            return subprocess.Popen(
                command(distribution, *self._options()),
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                # A group of its own: Ctrl-C is pytest's, and kill() reaches the script's Java too.
                start_new_session=True,
            )

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT
        while not self._is_ready():
            if self._has_ended(within=0.2):
                raise RuntimeError(self._failure("ended instead of starting"))
            if time.monotonic() > deadline:
                raise RuntimeError(self._failure(f"is not ready after {START_TIMEOUT} s"))

    def _is_ready(self) -> bool:
        # The port opens seconds before the realm is there; until then the answer is 503.
        try:
            return self._http.get(self.issuer, timeout=5).ok
        except requests.RequestException:
            return False

    def _has_ended(self, within: float) -> bool:
        assert self._process is not None
        try:
            self._process.wait(within)
        except subprocess.TimeoutExpired:
            return False
        return True

    def _failure(self, what: str) -> str:
        log = self.log_file.read_text("utf-8", "replace")
        return f"Keycloak {what}; its log ends with:\n{log[-4000:]}"

    def _lay_out_home(self, distribution: Path) -> None:
        """Give the server a home of its own for its data; the rest is the cached distribution's."""
        imports = self._home / "data" / "import"
        if imports.is_dir():
            return
        imports.mkdir(parents=True)
        (imports / _REALM_FILE.name).symlink_to(_REALM_FILE)
        (self._home / "tmp").mkdir()
        for name in ("conf", "lib", "providers", "themes"):
            (self._home / name).symlink_to(distribution / name)

    def _options(self) -> list[str]:
        return [
            f"-Dkc.home.dir={self._home}",
            f"-Djava.io.tmpdir={self._home / 'tmp'}",
            "start",
            "--optimized",
            "--import-realm",
            "--cache=local",
            "--http-enabled=false",
            "--http-host=127.0.0.1",
            f"--https-port={self._port}",
            f"--https-certificate-file={self._home / 'cert.pem'}",
            f"--https-certificate-key-file={self._home / 'key.pem'}",
            f"--hostname{'-url' if self.version.startswith('24.') else ''}={self.url}",
        ]

    def _write_certificates(self) -> None:
        certificate = self.ca.issue_cert("localhost", "127.0.0.1")
        chain = b"".join(blob.bytes() for blob in certificate.cert_chain_pems)
        (self._home / "cert.pem").write_bytes(chain)
        certificate.private_key_pem.write_to_path(self._home / "key.pem")
        self.ca.cert_pem.write_to_path(self.ca_file)
