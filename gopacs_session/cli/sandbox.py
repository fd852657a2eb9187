"""``gopacs-session sandbox``: run it, and point another shell's programs at it."""

import os
import shlex
from argparse import Namespace
from contextlib import ExitStack, suppress
from pathlib import Path
from time import sleep

from requests.utils import get_environ_proxies

from .. import environment_variables
from ..exceptions import ConfigurationError
from ..sandbox import Exchange, Sandbox
from ..sandbox.controls import environment_at, variables
from .demo import exchanged
from .terminal import ExitCode

SECRET = "sandbox"  # It opens nothing else, and outlives a sandbox, as a shell's variables do.
DIRECTIONS = """\
A GOPACS sandbox, until Ctrl-C.

In another terminal, this line points all programs there at the sandbox:

  {export}

Then, for example, with HTTPie (pip install httpie) and with curl:

  gopacs-session check
  http -A gopacs {api}/hello
  curl --cacert "$GOPACS_CA_BUNDLE" --oauth2-bearer "$(gopacs-session token)" {api}/hello

"""


def run(options: Namespace) -> ExitCode:
    """Run a sandbox until Ctrl-C, or print what points another shell's programs at it."""
    if not 0 < options.port < 65536:
        raise ConfigurationError("--port must be a number from 1 to 65535.")
    state = os.environ.get("XDG_STATE_HOME" if os.name == "posix" else "LOCALAPPDATA")
    ca_file = Path(state or "~/.local/state").expanduser() / "gopacs-session" / f"ca-{options.port}.pem"
    if options.export:
        _export(options.port, ca_file, options.export)
    else:
        _serve(options.port, ca_file)
    return ExitCode.SUCCESS


def _serve(port: int, ca_file: Path) -> None:
    def on_request(exchange: Exchange) -> None:
        server.token_requests.clear()  # It may run for weeks.
        server.api_requests.clear()
        with suppress(OSError):  # Nobody reads any more.
            exchanged(exchange)

    server = Sandbox(port=port, client_secret=SECRET, ca_file=ca_file, on_request=on_request)
    with ExitStack() as stack:
        try:
            ca_file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            stack.enter_context(server)
        except OSError as error:
            what, remedy = f"listen on port {port}", "--port names another one"
            if error.filename:
                what, remedy = f"write its CA certificate to {ca_file}", "XDG_STATE_HOME names another folder"
            raise ConfigurationError(f"The sandbox can't {what}: {os.strerror(error.errno or 0)}. {remedy}.") from None
        line = f"gopacs-session sandbox --port {port} --export"
        line = f'eval "$({line})"' if os.name == "posix" else f"{line} powershell | Invoke-Expression"
        print(DIRECTIONS.format(export=line, api=server.api_url), end="", flush=True)
        while True:
            sleep(3600)


def _export(port: int, ca_file: Path, shell: str) -> None:
    environment = environment_at(port, str(ca_file))
    settings = {**dict.fromkeys(environment_variables.NAMES, ""), **variables("sandbox", environment)}
    settings[environment_variables.CLIENT_SECRET] = SECRET
    if get_environ_proxies(environment.token_url):
        names = [name for name in ("no_proxy", "NO_PROXY") if os.environ.get(name)] or ["NO_PROXY"]
        settings |= {name: ",".join(filter(None, ["localhost", os.environ.get(name)])) for name in names}
    for name, value in settings.items():
        if shell == "powershell":
            quoted = value.replace("'", "''")
            print(f"$env:{name} = '{quoted}'" if value else f"$env:{name} = $null")
        else:
            print(f"export {name}={shlex.quote(value)}" if value else f"unset {name}")
