"""A real Keycloak, fetched from Maven Central, over TLS on loopback, with the realm of realm.json."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests
import trustme
from support import unassigned_port

from gopacs_session import Environment, GopacsSession

REALM = Path(__file__).with_name("realm.json")
START_TIMEOUT = 300  # seconds
# Pinned: Maven 3.8's own default is a plugin of 2013.
UNPACK = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:unpack"


class Keycloak:
    """A server that runs.

    Attributes:
        clients: the secrets in realm.json, by client id.
        ca_file: PEM file with the CA of its certificate.
        log: the file with all that it has printed.
    """

    def __init__(self, port: int, home: Path) -> None:
        self.ca_file, self.log = str(home / "ca.pem"), home / "keycloak.log"
        realm = f"https://localhost:{port}/realms/gopacs"
        self.token_url = f"{realm}/protocol/openid-connect/token"
        self.userinfo_url = f"{realm}/protocol/openid-connect/userinfo"
        self.admin_url = f"https://localhost:{port}/admin/realms/gopacs"
        self.environment = Environment("keycloak", self.token_url, ("localhost",), ca_bundle=self.ca_file)
        clients = json.loads(REALM.read_text("utf-8"))["clients"]
        self.clients: dict[str, str] = {client["clientId"]: client["secret"] for client in clients}

    def session(self, client: str = "ordinary", **options: Any) -> GopacsSession:
        """One for the realm's client of this kind; options are GopacsSession's, and win."""
        client_id = f"gopacs-{client}"
        own = {"client_secret": self.clients[client_id], "environment": self.environment, "scope": "openid"}
        return GopacsSession(client_id, **{**own, **options})

    def plain_session(self) -> requests.Session:
        """One that trusts the server, whatever the environment says."""
        session = requests.Session()
        session.trust_env, session.verify = False, self.ca_file
        return session


@contextmanager
def running(version: str, home: Path) -> Iterator[Keycloak]:
    """Keycloak of this version, 24.0 or later, in this folder, which the caller removes."""
    distribution = _unpacked(version, home)
    imports = distribution / "data" / "import"
    imports.mkdir(parents=True)
    shutil.copy(REALM, imports)
    ca = trustme.CA()
    ca.cert_pem.write_to_path(home / "ca.pem")
    ca.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(home / "server.pem")
    port = unassigned_port()
    keycloak = Keycloak(port, home)
    # A zip's members lose their executable bit, so the shell is named.
    command = ["sh", str(distribution / "bin" / "kc.sh"), "start", "--import-realm", "--cache=local"]
    command += ["--http-host=127.0.0.1", f"--https-port={port}", "--hostname-strict=false"]
    command += [f"--https-certificate{kind}-file={home / 'server.pem'}" for kind in ("", "-key")]
    with keycloak.log.open("wb") as output:
        # A group of its own: Ctrl-C is pytest's, and the end must reach the script's Java, too.
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, start_new_session=True)
    try:
        _wait_until_ready(keycloak, process)
        yield keycloak
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(60)


def _unpacked(version: str, home: Path) -> Path:
    """The distribution, from Maven's own cache from the second time on."""
    maven = shutil.which("mvn")
    if maven is None:
        raise RuntimeError("Maven (mvn) is missing, which downloads Keycloak; it also needs Java.")
    artifact = f"org.keycloak:keycloak-quarkus-dist:{version}:zip"
    command = [maven, "-B", "-C", "-q", UNPACK, f"-Dartifact={artifact}", f"-DoutputDirectory={home}"]
    # There, since it leaves a marker in the working directory, and unpacks nothing where one lies.
    done = subprocess.run(command, check=False, cwd=home, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{artifact} can't be fetched:\n{done.stdout[-4000:]}")
    return home / f"keycloak-{version}"


def _wait_until_ready(keycloak: Keycloak, process: subprocess.Popen[bytes]) -> None:
    """Wait for the realm's first answer: the port opens seconds before, with a 503."""
    deadline = time.monotonic() + START_TIMEOUT
    with keycloak.plain_session() as session:
        while time.monotonic() < deadline and process.poll() is None:
            try:
                if session.get(keycloak.token_url.partition("/protocol")[0], timeout=5).ok:
                    return
            except requests.ConnectionError:
                time.sleep(0.2)
    raise RuntimeError(f"Keycloak does not run; its log ends with:\n{keycloak.log.read_text('utf-8')[-4000:]}")
