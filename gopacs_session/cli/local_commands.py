"""The commands of ``gopacs-session`` that need no account. Each takes its options and returns its exit code."""

from __future__ import annotations

import os
import signal
import sys
import threading
from argparse import Namespace

from ..environment_variables import variables
from ..exceptions import ConfigurationError
from .exit_code import ExitCode
from .terminal import Style, Terminal


def demo(options: Namespace) -> ExitCode:
    """Play the demo."""
    from .demo import Demo

    return ExitCode.SUCCESS if Demo(Terminal(sys.stdout)).run() else ExitCode.FAILURE


def sandbox(options: Namespace) -> ExitCode:
    """Run a sandbox until Ctrl-C."""
    from ..sandbox import Sandbox
    from .demo import Journal

    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    terminal = Terminal(sys.stdout)
    journal = Journal(terminal)
    with Sandbox(port=options.port, token_lifetime=options.token_lifetime, on_request=journal.exchange) as server:
        terminal.paragraph("A GOPACS sandbox, until Ctrl-C.", Style.BOLD)
        terminal.paragraph(
            f"Its tokens live {server.token_lifetime:g} s; any path is an API that tells what it received.\n\n"
            "In another shell:\n"
        )
        settings = variables(server.client_id, server.client_secret, server.environment)
        settings |= {"REQUESTS_CA_BUNDLE": server.ca_file, "CURL_CA_BUNDLE": server.ca_file}
        terminal.say(_directions(settings, server.api_url))
        while not stopped.wait(1):  # Windows handles Ctrl-C between two waits only.
            pass  # pragma: no cover - no test waits that long
    terminal.say("Stopped.")
    return ExitCode.SUCCESS


def _directions(settings: dict[str, str], api_url: str) -> str:
    keyword = "export" if os.name == "posix" else "set"
    exports = "\n".join(f"  {keyword} {name}={value}" for name, value in settings.items())
    # The shell's printf is no process of its own: the secret shows in no process list.
    return f"""\
{exports}

  gopacs-session check
  gopacs-session request GET {api_url}/anything

A token by curl, and a request with it:

  printf 'grant_type=client_credentials&client_id=%s&client_secret=%s' \\
    $GOPACS_CLIENT_ID $GOPACS_CLIENT_SECRET |
    curl --silent --data @- $GOPACS_TOKEN_URL
  curl --oauth2-bearer TOKEN {api_url}/anything
"""


def completion(options: Namespace) -> ExitCode:
    """Print a script that teaches a shell the command's words."""
    from .parser import parser

    try:
        import shtab
    except ImportError:
        raise ConfigurationError("This needs shtab: pip install 'gopacs_session[completion]'") from None
    sys.stdout.write(shtab.complete(parser(), shell=options.shell) + "\n")
    return ExitCode.SUCCESS
