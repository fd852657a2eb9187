"""What `import gopacs_session` gives, and which module may know which."""

from __future__ import annotations

import ast
import graphlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

import gopacs_session

PUBLIC_NAMES = {
    "ACCEPTANCE",
    "PRODUCTION",
    "AuthorizationServerError",
    "ConfigurationError",
    "Environment",
    "GopacsAuth",
    "GopacsSession",
    "GopacsSessionError",
    "InsecureURLError",
    "InvalidClientError",
    "TokenRequestError",
    "WrongEnvironmentError",
}

PACKAGE = Path(gopacs_session.__file__).parent

COMMAND = {"cli", "__main__"}
# Each room, a module or a folder, may reach those before it, by whatever way, but none after it.
UPWARDS = (
    "transport", "grant", "tokens", "bearer", "auth", "session", "__init__", "sandbox", "pytest_plugin", "cli"
)  # fmt: skip
FILES = sorted(path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py"))


def test_the_exported_names() -> None:
    """The package exports exactly its public names, to each of which help() has something to say, and its version."""
    names = {n for n, value in vars(gopacs_session).items() if n[0] != "_" and not isinstance(value, ModuleType)}
    assert names == PUBLIC_NAMES
    assert set(gopacs_session.__all__) == PUBLIC_NAMES
    assert all(getattr(gopacs_session, name).__doc__ for name in names)
    assert re.fullmatch(r"\d+\.\d+\.\d+\S*", gopacs_session.__version__)


def test_importing_the_package() -> None:
    """It is silent and leaves the program's logging alone; nobody pays for the sandbox or the command."""
    code = "import gopacs_session, logging, sys; assert not logging.root.handlers; print('loaded:', *sys.modules)"
    # To this interpreter warnings are errors.
    command = [sys.executable, "-W", "error", "-c", code]
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE.parent)}
    process = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert (process.stderr, process.stdout.partition("loaded:")[0]) == ("", "")
    loaded = set(process.stdout.split())
    rooms = {name.split(".")[1] for name in loaded if name.startswith("gopacs_session.")}
    assert {"session", "grant", "tokens"} <= rooms
    assert rooms.isdisjoint({"sandbox", "pytest_plugin", *COMMAND})
    assert loaded.isdisjoint({"trustme", "pytest"})


def imports(file: Path) -> Iterator[str]:
    """The full names of what a module of ours imports, also within functions."""
    package = ("gopacs_session", *file.parts[:-1])
    for node in ast.walk(tree(file)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level:
            base = ".".join([*package[: len(package) - node.level + 1], *([node.module] if node.module else [])])
            yield from (f"{base}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield str(node.module)


def tree(file: Path) -> ast.Module:
    return ast.parse((PACKAGE / file).read_text(encoding="utf-8"))


def room(file: Path) -> str:
    return file.parts[0].removesuffix(".py")


def rooms_beside(file: Path) -> set[str]:
    """The other rooms of the package that a module imports from."""
    ours = {name.split(".")[1] for name in imports(file) if name.startswith("gopacs_session.")}
    known = {room(file) for file in FILES}
    return {name if name in known else "__init__" for name in ours} - {room(file)}


GRAPH: dict[str, set[str]] = {}
for file in FILES:
    GRAPH.setdefault(room(file), set()).update(rooms_beside(file))


def within_reach(room: str) -> set[str]:
    """The rooms that one imports, and those that these import, and so on."""
    reached: set[str] = set()
    waiting = {room}
    while waiting:
        reached |= waiting
        waiting = set().union(*(GRAPH[name] for name in waiting)) - reached
    return reached


def test_the_exceptions_know_nobody() -> None:
    """The errors need nothing else of the package, and the environments nothing but the errors."""
    assert GRAPH["exceptions"] == set()
    assert GRAPH["environments"] == {"exceptions"}


@pytest.mark.parametrize("room", UPWARDS)
def test_imports_go_one_way(room: str) -> None:
    """A room reaches none that stands above it."""
    assert within_reach(room).isdisjoint(UPWARDS[UPWARDS.index(room) + 1 :])


def test_imports_go_in_no_circle() -> None:
    """No room, the command line's included, imports one that imports it, were it over others."""
    graphlib.TopologicalSorter(GRAPH).prepare()


LIBRARY = within_reach("__init__") | within_reach("sandbox") | within_reach("pytest_plugin")


@pytest.mark.parametrize(
    "room, foreign",
    [
        ("environments", "requests|urllib3|oauthlib|requests_oauthlib|socket|http|os"),
        ("token_response", "requests|urllib3|oauthlib|requests_oauthlib|socket|http|threading|os"),
        ("issued_token", "requests|urllib3|requests_oauthlib|socket|http|urllib|os|threading"),
        ("renewal", "requests|urllib3|oauthlib|requests_oauthlib|socket|http|urllib|os"),
        ("tokens", "requests|urllib3|requests_oauthlib|socket|http|urllib|os"),
        ("grant", "threading|os"),
    ],
)
def test_each_room_has_its_own_subject(room: str, foreign: str) -> None:
    """Environments know no network, tokens no HTTP, and the grant no threads."""
    assert not [name for name in imports(Path(f"{room}.py")) if re.match(rf"({foreign})\b", name)]


@pytest.mark.parametrize("file", [file for file in FILES if room(file) in LIBRARY], ids=str)
def test_only_the_command_prints_or_reads_its_arguments(file: Path) -> None:
    """Outside the command line nothing is printed, and nothing read from sys.argv."""
    for node in ast.walk(tree(file)):
        assert not (isinstance(node, ast.Name) and node.id in ("print", "input"))
        assert not (isinstance(node, ast.Attribute) and node.attr in ("argv", "stdout", "stderr"))
