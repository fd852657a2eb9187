"""The command ``gopacs-session``: its words, its exit codes, its output, and what it says of faults."""

from __future__ import annotations

import io
import os
import pty
import select
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import requests
from support import Clock, needs_fork, unassigned_port

from gopacs_session.cli import main
from gopacs_session.sandbox import Sandbox

COMMAND = [sys.executable, "-m", "gopacs_session"]


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where `sandbox` keeps what lasts."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return tmp_path / "gopacs-session"


def piped(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))


# -- token -------------------------------------------------------------------------------------------------------------


def test_token(configured: Sandbox, capsys: pytest.CaptureFixture[str]) -> None:
    """A token is printed, alone or as a header, and nothing else."""
    assert main(["token"]) == main(["token", "--header"]) == 0
    bare, header = capsys.readouterr().out.splitlines()
    for authorization in f"Bearer {bare}", header.removeprefix("Authorization: "):
        answer = requests.get(configured.api_url, headers={"Authorization": authorization}, verify=configured.ca_file)
        assert answer.status_code == 200


@pytest.mark.parametrize("given", [b"the-secret\n", b"\xef\xbb\xbfthe-secret\r\n"], ids=ascii)
def test_the_secret_from_standard_input(
    configured: Sandbox, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], given: bytes
) -> None:
    """--secret-stdin wins over the variable."""
    configured.client_secret = "the-secret"
    piped(monkeypatch, given)
    assert main(["token", "--secret-stdin"]) == 0
    assert "the-secret" not in "".join(capsys.readouterr())


@pytest.mark.parametrize("content, words", [(b"", "empty"), (b"\xff", "UTF-8"), (None, "closed")])
def test_a_secret_from_standard_input_that_is_none(
    configured: Sandbox, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], content: Any, words: str
) -> None:
    """Nothing, or no text, on standard input is told, and nothing is sent."""
    if content is None:
        monkeypatch.setattr(sys, "stdin", None)
    else:
        piped(monkeypatch, content)
    assert main(["token", "--secret-stdin"]) == 2
    assert words in capsys.readouterr().err
    assert configured.token_requests == []


def on_terminal(*words: str, typed: bytes = b"") -> tuple[int, str]:
    """The exit code of the command on a terminal of its own, and what it showed; `typed` answers its question."""
    process, terminal = pty.fork()
    if process == 0:
        os.execv(sys.executable, [*COMMAND, *words])  # noqa: S606 - it is this Python
    shown = b""
    with suppress(OSError):  # as Linux ends a terminal
        while select.select([terminal], [], [], 30)[0] and (data := os.read(terminal, 4096)):
            shown += data
            if typed and b"(it will not show): " in shown:
                os.write(terminal, typed)
                typed = b""
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]), shown.decode()


@needs_fork
@pytest.mark.parametrize(
    "typed, code, words",
    [
        ("the-secret\n", 0, "\neyJ"),
        ("another\n", 3, "refused the client"),
        (" \n", 2, "No secret was typed."),
        ("\x04", 2, "No secret was typed."),
        ("\x03", 130, "Interrupted."),
    ],
    ids=ascii,
)
def test_a_terminal_asks_for_the_secret(
    configured: Sandbox, monkeypatch: pytest.MonkeyPatch, typed: str, code: int, words: str
) -> None:
    """Without a secret in the variables a person is asked for it, and what is typed does not show."""
    configured.client_secret = "the-secret"
    monkeypatch.delenv("GOPACS_CLIENT_SECRET")
    ended, shown = on_terminal("token", typed=typed.encode())
    assert (ended, shown.startswith("Secret of sandbox (it will not show): ")) == (code, True)
    assert words in shown
    assert typed not in shown


# -- faults ------------------------------------------------------------------------------------------------------------

REFUSED = {"error": "invalid_client", "error_description": "Invalid client\x1b[31m"}
FAULTS: list[tuple[dict[str, Any], dict[str, str | None], int, str]] = [
    # the answer to a token request, variables, the exit code, the words
    ({"status": 401, "body": REFUSED}, {}, 3, "invalid_client: Invalid client[31m"),
    ({"status": 503}, {}, 6, "Try 3 of 3"),
    ({"status": 302, "headers": {"Location": "https://login.example/?x"}}, {}, 6, "redirects (302 to login.example)"),
    ({}, {"GOPACS_CLIENT_ID": None, "GOPACS_CLIENTID": "x"}, 2, "did you mean GOPACS_CLIENT_ID?"),
    ({}, {"GOPACS_CA_BUNDLE": None}, 6, "is not trusted"),
    ({}, {"HTTPS_PROXY": "http://u:hidden@127.0.0.1:1", "NO_PROXY": ""}, 6, "is out of reach"),
    ({}, {"HTTPS_PROXY": "http://u:hidden@proxy:port", "NO_PROXY": ""}, 6, "Check the proxy's URL"),
]


@pytest.mark.parametrize("answer, changed, code, words", FAULTS)
def test_a_fault_is_one_message_and_an_exit_code(
    configured: Sandbox,
    pauses: list[float],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    answer: dict[str, Any],
    changed: dict[str, str | None],
    code: int,
    words: str,
) -> None:
    """Refused, unavailable or badly configured: a script sees which, and a person reads what to do."""
    if answer:
        configured.answer_next_token_requests(float("inf"), **answer)
    for name, value in changed.items():
        monkeypatch.setenv(name, value) if value is not None else monkeypatch.delenv(name)
    assert main(["token"]) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert words in " ".join(err.split())
    assert "Traceback" not in err
    assert "hidden" not in err


@pytest.mark.parametrize(
    "words",
    [
        "tokn",
        "token s3cret",
        "token --secret s3cret",
        "token --header=s3cret",
        "token --json",
        "check --environment acceptance",
        "sandbox --port s3cret",
        "sandbox --export fish",
        "completion bash",
    ],
)
def test_wrong_usage(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What the command does not know ends in 2 with its usage, and may be a secret, so it is not quoted."""
    with pytest.raises(SystemExit) as exit:
        main(words.split())
    assert exit.value.code == 2
    err = capsys.readouterr().err
    assert err.startswith("usage: gopacs-session")
    assert "s3cret" not in err


def test_help_names_everything(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a command, help is printed to standard error; it has the commands, the variables and the exit codes."""
    assert main([]) == 2
    help = capsys.readouterr().err
    for word in "token", "check", "sandbox", "demo", "GOPACS_CA_BUNDLE", "141", "refused the credentials":
        assert word in help


def run(words: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *words], capture_output=True, text=True, timeout=60, **options)


@pytest.mark.parametrize(
    "words, code, said",
    [
        ("token | :; exit ${PIPESTATUS[0]}", 141, ""),
        ("token >&-", 141, "Standard output is closed."),
        ("token >/dev/full", 1, "No space left on device"),
        ("token --secret-stdin <&- 2>&-", 2, ""),
        ("token --secret-stdin <&- 2>&1 >/dev/null | :; exit ${PIPESTATUS[0]}", 141, ""),
    ],
)
def test_streams_that_are_closed(configured: Sandbox, words: str, code: int, said: str) -> None:
    """Where nobody reads, or nothing can be written, the command ends with a line at most."""
    shell = f"{sys.executable} -m gopacs_session {words}"
    done = subprocess.run(["/bin/bash", "-c", shell], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr == (f"gopacs-session: {said}\n" if said else "")


def test_an_output_without_ticks(configured: Sandbox) -> None:
    """Where the encoding has no tick and no cross, their names say which it is."""
    done = run(["check"], env={**os.environ, "PYTHONIOENCODING": "ascii"})
    assert "\\N{CHECK MARK} credentials" in done.stdout


# -- the sandbox and the demo ------------------------------------------------------------------------------------------


def until_curl(server: subprocess.Popen[str]) -> str:
    """A sandbox's directions, which end in a line for curl."""
    shown = ""
    while server.stdout and "curl --" not in shown:
        shown += server.stdout.readline() or pytest.fail(f"It ended: {shown}")
    return shown


def test_export_points_a_shell_at_a_sandbox_that_runs(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`eval` of what --export prints makes from_env sessions on the sandbox, and Ctrl-C stops it."""
    port = str(unassigned_port())
    monkeypatch.setenv("GOPACS_ENVIRONMENT", "production")
    command = [*COMMAND, "sandbox", "--port", port]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert "http -A gopacs" in until_curl(server)
        code = "import sys; from gopacs_session import *; print(GopacsSession.from_env().get(sys.argv[1]))"
        program = f"{sys.executable} -c '{code}'"
        export = f'eval "$({sys.executable} -m gopacs_session sandbox --port {port} --export)"'
        shell = ["/bin/sh", "-euc", f"{export}; {program} https://localhost:{port}/x"]
        done = subprocess.run(shell, capture_output=True, text=True)
        assert done.stdout == "<Response [200]>\n", done.stderr
        second = run(["sandbox", "--port", port])
        assert (second.returncode, second.stdout) == (2, "")
        assert f"can't listen on port {port}: Address already in use" in second.stderr
        server.send_signal(signal.SIGINT)
        rest = server.stdout.read()
    assert server.returncode == 130
    assert "GET /x with token 1: 200" in rest


def test_a_sandbox_that_nobody_reads_goes_on(state: Path) -> None:
    """As after `| head`: it answers all the same, and does not complain."""
    port = unassigned_port()
    command = [*COMMAND, "sandbox", "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as server:
        until_curl(server)
        assert server.stdout
        assert server.stderr
        server.stdout.close()
        for _ in range(2):
            answer = requests.get(f"https://localhost:{port}/", verify=str(state / f"ca-{port}.pem"))
            assert answer.status_code == 401
        server.terminate()
        assert server.stderr.read() == ""


def test_export_for_powershell(state: Path, capsys: Any, monkeypatch: Any) -> None:
    """The same for PowerShell, past a proxy."""
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example")
    assert main(["sandbox", "--port", str(unassigned_port()), "--export", "powershell"]) == 0
    out = capsys.readouterr().out
    assert "$env:GOPACS_ENVIRONMENT = $null" in out
    assert "$env:NO_PROXY = 'localhost'" in out


def test_a_state_folder_that_cannot_be_written(tmp_path: Path, monkeypatch: Any, capsys: Any) -> None:
    """What was to be written there is told, and how to move it; so is a port that is none."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    (tmp_path / "file").write_text("")
    for port, words in ("8443", "XDG_STATE_HOME names another folder"), ("0", "from 1 to 65535"):
        assert main(["sandbox", "--port", port]) == 2
        assert words in " ".join(capsys.readouterr().err.split())


@pytest.fixture
def brief(monkeypatch: pytest.MonkeyPatch, pauses: list[float], clock: Clock) -> None:
    """Time passes when the demo waits for it: for the session, and for the sandbox."""
    monkeypatch.setattr("gopacs_session.sandbox.realm.monotonic", lambda: clock.monotonic)
    monkeypatch.setattr("gopacs_session.cli.demo.sleep", clock.advance)
    monkeypatch.setenv("COLUMNS", "80")


def test_the_demo_tells_a_story_in_which_every_request_succeeds(brief: None, capsys: Any) -> None:
    """Expiry, staleness, revocation and outage are lived through, in lines of plain text that fit a terminal."""
    assert main(["demo"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    for words in (
        "api     GET /on-the-stale-token with token 2: 200",
        "caller  GET /on-the-renewed-token: 200",
        "api     GET /after-the-revocation with token 3: 401",
        "Try 3 of 3",
        "14 of 14 requests succeeded, on 7 token requests; 0 API requests went out",
    ):
        assert words in out
    assert max(len(line) for line in out.splitlines()) <= 80
    assert "\x1b" not in out


def test_a_demo_that_goes_wrong(brief: None, capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """If a request fails, the exit code says so."""

    class Faulty(Sandbox):
        def revoke_tokens(self) -> None:
            self.client_enabled = False
            super().revoke_tokens()

    monkeypatch.setattr("gopacs_session.cli.demo.Sandbox", Faulty)
    assert main(["demo"]) == 1
    out = capsys.readouterr().out
    assert "caller  GET /after-the-outage: No access token for sandbox" in out
    assert "12 of 14 requests succeeded" in out


def test_ctrl_c_ends_the_demo_with_one_line() -> None:
    """An interrupt is no traceback."""
    with subprocess.Popen([*COMMAND, "demo"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as demo:
        assert demo.stdout
        assert demo.stderr
        for line in iter(demo.stdout.readline, ""):
            if "/second" in line:
                demo.send_signal(signal.SIGINT)
                break
        demo.stdout.read()
        assert demo.stderr.read() == "gopacs-session: Interrupted.\n"
    assert demo.returncode == 130


def test_ctrl_c_before_the_command_has_begun() -> None:
    """While the package is imported, an interrupt ends the process without a word."""
    program = "import builtins, os, signal; from gopacs_session_command import main; load = builtins.__import__\n"
    program += "def interrupt(*args): os.kill(os.getpid(), signal.SIGINT) if 'gopacs' in args[0] else load(*args)\n"
    program += "builtins.__import__ = interrupt; main()"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (-signal.SIGINT, "")


def test_without_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the sandbox's libraries are missing, the command says how to install them."""
    program = "import sys; sys.modules['tornado'] = None; from gopacs_session.cli import main; sys.exit(main(['demo']))"
    environ = {**os.environ, "COLUMNS": "200"}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, env=environ)
    assert done.returncode == 2
    assert "pip install 'gopacs_session[sandbox]'" in done.stderr
    assert "Traceback" not in done.stderr
