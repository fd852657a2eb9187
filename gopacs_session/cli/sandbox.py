"""``gopacs-session sandbox``: run it, and point another shell's programs at it."""

import os
import secrets
import shlex
import signal
import socket
import threading
from contextlib import ExitStack
from pathlib import Path

from requests.utils import get_environ_proxies

from .. import environment_variables
from ..exceptions import ConfigurationError
from ..sandbox import Exchange, Sandbox
from ..sandbox.controls import environment_at, variables
from .demo import Journal
from .parser import SANDBOX_PORT
from .terminal import BOLD, complain, say

DIRECTIONS = """
In another terminal, this line points all programs there at the sandbox:

  {export}

Then, for example, with HTTPie (pip install 'gopacs_session[httpie]') and with curl:

  gopacs-session check
  http -A gopacs {api}/hello
  curl --cacert "$GOPACS_CA_BUNDLE" --oauth2-bearer "$(gopacs-session token)" {api}/hello
"""


def serve(port: int, token_lifetime: float) -> None:
    """Run a sandbox until Ctrl-C, and print each request that it gets."""
    stopped, journal = threading.Event(), Journal()

    def on_request(exchange: Exchange) -> None:
        server.token_requests.clear()  # It may run for weeks.
        server.api_requests.clear()
        try:
            journal.exchange(exchange)
        except OSError:
            stopped.set()  # Nobody reads any more.
            raise

    own = {"client_secret": _secret(), "ca_file": str(_folder() / f"ca-{port}.pem")}
    server = Sandbox(port=port, token_lifetime=token_lifetime, on_request=on_request, **own)
    with ExitStack() as stack:
        try:
            stack.enter_context(server)
        except OSError as error:
            fault = f"The sandbox can't listen on port {port}: {os.strerror(error.errno or 0)}."
            raise ConfigurationError(f"{fault} Choose another one with --port.") from None
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: stopped.set())
        say("A GOPACS sandbox, until Ctrl-C.", BOLD)
        export = f"gopacs-session sandbox{f' --port {port}' if port != SANDBOX_PORT else ''} --export"
        line = f'eval "$({export})"' if os.name == "posix" else f"{export} powershell | Invoke-Expression"
        print(DIRECTIONS.format(export=line, api=server.api_url), flush=True)
        while not stopped.wait(1):  # Windows handles Ctrl-C between two waits only.
            pass  # pragma: no cover - no test waits that long
    say("Stopped.")


def export(port: int, shell: str) -> None:
    """Print what a shell, sh or powershell, evaluates to point its programs at the sandbox on this port."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        complain(f"No sandbox runs on port {port} yet: start it with `gopacs-session sandbox`.")
    environment = environment_at(port, str(_folder() / f"ca-{port}.pem"))
    settings = {**dict.fromkeys(environment_variables.NAMES, ""), **variables("sandbox", environment)}
    settings[environment_variables.CLIENT_SECRET_FILE] = str(_folder() / "secret")
    if get_environ_proxies(environment.token_url):
        names = [name for name in ("no_proxy", "NO_PROXY") if os.environ.get(name)] or ["NO_PROXY"]
        settings |= {name: ",".join(filter(None, ["localhost", os.environ.get(name)])) for name in names}
    for name, value in settings.items():
        if shell == "powershell":
            quoted = value.replace("'", "''")
            print(f"$env:{name} = '{quoted}'" if value else f"$env:{name} = $null")
        else:
            print(f"export {name}={shlex.quote(value)}" if value else f"unset {name}")


def _folder() -> Path:
    """Where the secret and the CA certificates are, which outlive a sandbox, as a shell's variables do."""
    state = os.environ.get("XDG_STATE_HOME" if os.name == "posix" else "LOCALAPPDATA")
    return Path(state or "~/.local/state").expanduser() / "gopacs-session"


def _secret() -> str:
    """The secret of all sandboxes that this user runs, made by the first of them."""
    folder, file = _folder(), _folder() / "secret"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        file.touch(mode=0o600)
        if not file.read_text():
            file.write_text(secrets.token_hex(16))  # Without a line end, which curl would send.
        return file.read_text()
    except OSError as error:
        text = f"The sandbox keeps its secret and its CA certificate in {folder}, which can't be written "
        raise ConfigurationError(f"{text}({error.strerror}). XDG_STATE_HOME names another place.") from None
