"""The documentation: its examples run, its links lead somewhere, and nothing that a user can name is missing.

A page is read from top to bottom by somebody whose API client in acceptance is ``my-api-client``, with the secret
``its-secret``. In truth a proxy leads every host of GOPACS to a sandbox. ``python`` blocks of a page share their
variables; those with tests are files of a run of pytest, those with a ``__main__`` are programs, and one that begins
with ``# name.py`` is a module for all pages. An ``output`` block is what the block before it prints. A block that can't
run says why, in a comment before it: ``<!-- not run: reason -->``.
"""

from __future__ import annotations

import argparse
import io
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import requests
import trustme
from servers import proxying

import gopacs_session
import gopacs_session.sandbox
from gopacs_session import environment_variables
from gopacs_session.cli import parser
from gopacs_session.sandbox import Sandbox

TOP = Path(__file__).parents[1]
DOCS = TOP / "docs"
PAGES = {page: page.read_text(encoding="utf-8") for page in [*TOP.glob("*.md"), *DOCS.rglob("*.md")]}
BLOCK = re.compile(r"(<!-- not run: [^\n]+ -->\n)?^```(python|sh|output)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
VARYING = (  # from one run, or one machine, to the next
    (r"\S+\.pem", "A.pem"),
    (r"localhost:\d+", "localhost:8443"),
    (r"127\.0\.0\.1, ::1", "127.0.0.1"),
    (r"\d+\.\d+ s\b", "0.01 s"),
    (r"trustme v[\d.]+, until [\d-]+ \(\d+ days\)", "trustme"),
    (r"TLSv1\.\d", "TLS"),
)
each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)


@pytest.fixture
def sandbox(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Sandbox]:
    """A sandbox behind GOPACS's own names, and a folder to work in, with what pages call by its name."""
    issue, connect = trustme.CA.issue_cert, socket.create_connection
    names = ("*.gopacs-services.eu", "*.acc.gopacs-services.eu")
    monkeypatch.setattr(trustme.CA, "issue_cert", lambda ca, *own: issue(ca, *own, *names))
    for name, code in re.findall(r"^```python\n# (\w+\.py)\n(.*?)^```$", "".join(PAGES.values()), re.DOTALL | re.M):
        (tmp_path / name).write_text(code, encoding="utf-8")
    (tmp_path / "gopacs-secret").write_text("its-secret")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    with Sandbox(client_id="my-api-client", client_secret="its-secret") as sandbox, proxying() as proxy:

        def connect_here(address: tuple[str, int], *rest: Any, **options: Any) -> socket.socket:
            port = int(sandbox.api_url.rpartition(":")[2]) if address[1] == 443 else address[1]
            return connect(("localhost", port), *rest, **options)

        monkeypatch.setattr(socket, "create_connection", connect_here)  # By this the proxy connects.
        settings = {
            "HTTPS_PROXY": proxy.url,
            "NO_PROXY": "localhost",
            "REQUESTS_CA_BUNDLE": sandbox.ca_file,
            "SSL_CERT_FILE": sandbox.ca_file,
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
            "PYTHONUTF8": "1",
            "GOPACS_CLIENT_ID": "my-api-client",
            "GOPACS_CLIENT_SECRET_FILE": "gopacs-secret",
            "GOPACS_ENVIRONMENT": "acceptance",
        }
        for name, value in settings.items():
            monkeypatch.setenv(name, value)
        yield sandbox


@each_page
def test_the_examples_of_a_page(page: Path, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a page shows can be typed, works, and prints what the page says."""
    if page.match("tutorial/sandbox.md"):  # Its reader has evaluated `gopacs-session sandbox --export`.
        sandbox.client_id = "sandbox"
        monkeypatch.setenv("GOPACS_CLIENT_ID", "sandbox")
        monkeypatch.delenv("GOPACS_CLIENT_SECRET_FILE")
        monkeypatch.setenv("GOPACS_CLIENT_SECRET", "its-secret")
        monkeypatch.delenv("GOPACS_ENVIRONMENT")
        monkeypatch.setenv("GOPACS_TOKEN_URL", sandbox.environment.token_url)
        monkeypatch.setenv("GOPACS_API_DOMAINS", "localhost")
        monkeypatch.setenv("GOPACS_CA_BUNDLE", sandbox.ca_file)
    printed, variables = "", {"__name__": "a page"}
    for reason, language, code in BLOCK.findall(PAGES[page]):
        if language == "output":
            assert settled(printed) == settled(code)
        elif not reason and not code.startswith("# "):
            printed = run(language, code.replace("https://localhost:8443", sandbox.api_url), variables)
    for session in [value for value in variables.values() if isinstance(value, requests.Session)]:
        session.close()


def run(language: str, code: str, variables: dict[str, Any]) -> str:
    """What the code of a block prints."""
    if language == "python" and not re.search("^def test_|__main__", code, re.M):
        with redirect_stdout(io.StringIO()) as printed:
            exec(compile(code, "an example", "exec", dont_inherit=True), variables)  # noqa: S102
        return printed.getvalue()
    Path("test_or_program.py").write_text(code, encoding="utf-8")
    pytest_options = [] if "__main__" in code else ["-m", "pytest", "-W", "error", "-p", "no:cacheprovider"]
    command = ["sh", "-euc", code] if language == "sh" else [sys.executable, *pytest_options, "test_or_program.py"]
    process = subprocess.run(command, capture_output=True, encoding="utf-8", stdin=subprocess.DEVNULL, timeout=60)
    assert process.returncode == 0, process.stdout + process.stderr
    return process.stdout


def settled(text: str) -> str:
    """The text as it is in every run, in one line."""
    for pattern, constant in VARYING:
        text = re.sub(pattern, constant, " ".join(text.split()))
    return text


@each_page
def test_the_links_of_a_page(page: Path) -> None:
    """Each link to another page leads to a file that exists, and to a heading that it has."""
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#\s]*)#?([^)\s]*)\)", PAGES[page]):
        headings = re.findall("^#+ (.+)$", (page.parent / target if target else page).read_text(encoding="utf-8"), re.M)
        slugs = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
        assert anchor in {"", *slugs}, f"{target}#{anchor}"


@pytest.mark.parametrize("module", [gopacs_session, gopacs_session.sandbox], ids=lambda module: module.__name__)
def test_every_public_name_is_in_the_reference(module: ModuleType) -> None:
    """The API reference has each name that the package exports."""
    public = {name for name, value in vars(module).items() if name[0] != "_" and not isinstance(value, ModuleType)}
    documented = re.findall(r":: (?:[\w.]+\.)?(\w+)(?:\(\))?$", PAGES[DOCS / "reference" / "api.md"], re.M)
    assert public - {"sandbox"} <= {*documented}


def test_every_command_option_and_variable_is_documented() -> None:
    """The page about the command has each command, option and environment variable, and no other."""
    page = PAGES[DOCS / "reference" / "command-line.md"]
    [commands] = [action for action in parser()._actions if isinstance(action, argparse._SubParsersAction)]
    actions = [action for command in commands.choices.values() for action in command._actions]
    options = {option for action in actions for option in action.option_strings}
    assert {*re.findall("^## ([a-z]+)$", page, re.M)} == {*commands.choices}
    assert {*re.findall("`(--?[a-z-]+)", page)} == options | {"--version"}
    assert {*re.findall(r"\bGOPACS_[A-Z_]+", page)} == {*environment_variables.NAMES}
