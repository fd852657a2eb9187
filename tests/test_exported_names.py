"""What `import gopacs_session` gives, and which module may know which."""

from __future__ import annotations

import ast
import graphlib
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import gopacs_session

PUBLIC_NAMES = {
    *("GopacsAuth", "GopacsSession", "ACCEPTANCE", "PRODUCTION", "Environment"),
    *("GopacsSessionError", "ConfigurationError", "InsecureURLError", "WrongEnvironmentError"),
    *("TokenRequestError", "AuthorizationServerError", "InvalidClientError"),
}
PACKAGE = Path(gopacs_session.__file__).parent
FILES = [path.relative_to(PACKAGE) for path in sorted(PACKAGE.rglob("*.py"))]


def test_the_exported_names() -> None:
    """The package exports exactly its public names, to each of which help() has something to say, and its version."""
    names = {n for n, value in vars(gopacs_session).items() if n[0] != "_" and not isinstance(value, ModuleType)}
    assert names == set(gopacs_session.__all__) == PUBLIC_NAMES
    assert all(getattr(gopacs_session, name).__doc__ for name in names)
    assert re.fullmatch(r"\d+\.\d+\.\d+\S*", gopacs_session.__version__)


def test_importing_the_package() -> None:
    """It is silent and leaves the program's logging alone; nobody pays for the sandbox, the command or the plugins."""
    code = "import gopacs_session, logging, sys; assert not logging.root.handlers; print('loaded:', *sys.modules)"
    command = [sys.executable, "-W", "error", "-c", code]
    process = subprocess.run(command, capture_output=True, text=True, check=True)
    assert (process.stderr, process.stdout.partition("loaded:")[0]) == ("", "")
    loaded = set(process.stdout.split())
    assert "gopacs_session.session" in loaded
    apart = {f"gopacs_session.{name}" for name in ("sandbox", "cli", "pytest_plugin", "httpie_plugin")}
    assert loaded.isdisjoint({*apart, "trustme", "pytest", "httpie"})


def tree(file: Path) -> ast.Module:
    return ast.parse((PACKAGE / file).read_text(encoding="utf-8"))


def room(file: Path) -> str:
    """The module of the package, or its folder."""
    return file.parts[0].removesuffix(".py")


def imports(file: Path) -> set[str]:
    """The other rooms that a module imports from, also within functions."""
    rooms = {room(file) for file in FILES}
    nodes = [node for node in ast.walk(tree(file)) if isinstance(node, ast.ImportFrom) and node.level]
    names = [(node.module or alias.name).partition(".")[0] for node in nodes for alias in node.names]
    inner = {path.stem for path in (PACKAGE / file).parent.iterdir()} if len(file.parts) > 1 else set()
    return {name if name in rooms else "__init__" for name in names if name not in inner} - {room(file)}


def test_imports_go_in_no_circle() -> None:
    """No room imports one that imports it, were it over others, and the errors know nobody."""
    graph: dict[str, set[str]] = {}
    for file in FILES:
        graph.setdefault(room(file), set()).update(imports(file))
    graphlib.TopologicalSorter(graph).prepare()
    assert graph["session"] >= {"auth"}
    assert graph["exceptions"] == set()
    assert graph["environments"] == {"exceptions"}


@pytest.mark.parametrize("file", [file for file in FILES if room(file) not in ("cli", "__main__")], ids=str)
def test_only_the_command_prints_or_reads_its_arguments(file: Path) -> None:
    """Outside the command line nothing is printed, and nothing read from sys.argv."""
    for node in ast.walk(tree(file)):
        assert not (isinstance(node, ast.Name) and node.id in ("print", "input"))
        assert not (isinstance(node, ast.Attribute) and node.attr in ("argv", "stdout", "stderr"))
