"""The commands of ``gopacs-session`` that need no account. Each takes its options and returns its exit code."""

from __future__ import annotations

import os
import secrets
import shlex
import signal
import socket
import sys
import threading
from argparse import Namespace
from pathlib import Path
from tempfile import NamedTemporaryFile

from requests.utils import get_environ_proxies

from ..environment_variables import CLIENT_SECRET, CLIENT_SECRET_FILE, NAMES, variables
from ..exceptions import ConfigurationError
from .exit_code import ExitCode
from .parser import SANDBOX_PORT
from .terminal import Style, Terminal, complain


def demo(options: Namespace) -> ExitCode:
    """Play the demo."""
    from .demo import Demo

    return ExitCode.SUCCESS if Demo(Terminal(sys.stdout)).run() else ExitCode.FAILURE


def sandbox(options: Namespace) -> ExitCode:
    """Run a sandbox until Ctrl-C, or print what points another shell's programs at it."""
    if options.export:
        return _export(options)
    from ..sandbox import Sandbox
    from .demo import Journal

    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    terminal = Terminal(sys.stdout)
    with Sandbox(
        port=options.port,
        token_lifetime=options.token_lifetime,
        client_secret=_secret(),
        ca_file=_ca_file(options.port),
        on_request=Journal(terminal).exchange,
    ) as server:
        terminal.paragraph("A GOPACS sandbox, until Ctrl-C.", Style.BOLD)
        terminal.paragraph(
            f"Its tokens live {server.token_lifetime:g} s; any path is an API that tells what it received."
        )
        terminal.say(_directions(options.port, server.api_url))
        while not stopped.wait(1):  # Windows handles Ctrl-C between two waits only.
            pass  # pragma: no cover - no test waits that long
    terminal.say("Stopped.")
    return ExitCode.SUCCESS


def _directions(port: int, api_url: str) -> str:
    export = f"{_command(port)} --export"
    line = f'eval "$({export})"' if os.name == "posix" else f"{export} powershell | Invoke-Expression"
    return f"""
In another terminal, this line points all programs there at the sandbox:

  {line}

Then, for example:

  gopacs-session check
  gopacs-session request GET {api_url}/anything
  gopacs-session request GET {api_url}/status/404

A token by curl, and a request with it:

  curl --cacert "$GOPACS_CA_BUNDLE" --data grant_type=client_credentials \\
    --data "client_id=$GOPACS_CLIENT_ID" \\
    --data-urlencode "client_secret@$GOPACS_CLIENT_SECRET_FILE" "$GOPACS_TOKEN_URL"
  curl --cacert "$GOPACS_CA_BUNDLE" --oauth2-bearer TOKEN {api_url}/anything
"""


def _command(port: int) -> str:
    return "gopacs-session sandbox" + (f" --port {port}" if port != SANDBOX_PORT else "")


def _export(options: Namespace) -> ExitCode:
    from ..sandbox.controls import environment_at

    if not _listens(options.port):
        complain(f"No sandbox runs on port {options.port} yet: start it with `{_command(options.port)}`.")
    environment = environment_at(options.port, str(_ca_file(options.port)))
    settings: dict[str, str | None] = {**dict.fromkeys(NAMES), **variables("sandbox", "", environment)}
    settings |= {
        CLIENT_SECRET: None,
        CLIENT_SECRET_FILE: str(_folder() / "secret"),
        **_past_proxies(environment.token_url),
    }
    assign = _in_powershell if options.export == "powershell" else _in_sh
    sys.stdout.writelines(f"{assign(name, value)}\n" for name, value in settings.items())
    return ExitCode.SUCCESS


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def _in_sh(name: str, value: str | None) -> str:
    return f"unset {name}" if value is None else f"export {name}={shlex.quote(value)}"


def _in_powershell(name: str, value: str | None) -> str:
    quoted = "$null" if value is None else "'" + value.replace("'", "''") + "'"
    return f"$env:{name} = {quoted}"


def _past_proxies(url: str) -> dict[str, str]:
    """What keeps requests to the sandbox away from a proxy that this shell names."""
    if not get_environ_proxies(url):
        return {}
    names = [name for name in ("no_proxy", "NO_PROXY") if os.environ.get(name)] or ["NO_PROXY"]
    return {name: ",".join(filter(None, ["localhost", os.environ.get(name)])) for name in names}


def _folder() -> Path:
    """A folder that only this user can read. What it holds is the same from one sandbox to the next."""
    if os.name == "posix":
        state = Path(os.environ.get("XDG_STATE_HOME") or "~/.local/state")
    else:
        state = Path(os.environ.get("LOCALAPPDATA") or "~/AppData/Local")  # pragma: no cover - only on Windows
    return state.expanduser() / "gopacs-session"


def _ca_file(port: int) -> Path:
    return _folder() / f"ca-{port}.pem"


def _secret() -> str:
    """The secret of all sandboxes that this user runs, in a file that lasts."""
    folder = _folder()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    file = folder / "secret"
    if not file.exists():
        with NamedTemporaryFile("w", dir=folder, delete=False) as new:  # which no other user can read
            new.write(secrets.token_hex(16))  # Without a line end: curl would send it.
        os.replace(new.name, file)
    return file.read_text().strip()


def completion(options: Namespace) -> ExitCode:
    """Print a script that teaches a shell the command's words."""
    from .parser import parser

    try:
        import shtab
    except ImportError:
        raise ConfigurationError("This needs shtab: pip install 'gopacs_session[completion]'") from None
    sys.stdout.write(shtab.complete(parser(), shell=options.shell) + "\n")
    return ExitCode.SUCCESS
