"""Keycloak's server, fetched from Maven Central, built once and kept in the user's cache."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

NEWEST = "26.7.3"
# The first that is installed: only newer Keycloaks know Java 25.
JAVA_VERSIONS = (21, 17, 25)
JAVA_PLACES = ("/usr/lib/jvm/*", "/Library/Java/JavaVirtualMachines/*/Contents/Home")

# Pinned: Maven 3.8's own default is a plugin of 2013.
_COPY = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy"


def keycloak_home(version: str) -> Path:
    """Return the unpacked and built distribution, which the first call downloads."""
    cache = _cache_dir()
    home = cache / f"keycloak-{version}"
    if not home.is_dir():
        with _locked(cache / f"{home.name}.lock"):
            if not home.is_dir():
                _install(home, version)
    return home


def java_environment() -> dict[str, str]:
    """Return the environment for Keycloak's scripts: a Java it supports, none of its settings."""
    theirs = re.compile("KC_|JAVA|JDK_|DEBUG|PRINT_ENV")
    environ = {name: value for name, value in os.environ.items() if not theirs.match(name)}
    return {**environ, "JAVA_HOME": str(_java_home())}


def command(home: Path, *arguments: str) -> list[str]:
    """Return the command line that runs `kc.sh`."""
    # A zip file's members lose their executable bit, so the shell is named.
    return ["sh", str(home / "bin" / "kc.sh"), *arguments]


def _cache_dir() -> Path:
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "gopacs_session"


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _install(home: Path, version: str) -> None:
    """Make it aside and rename it last: what was interrupted half way counts for nothing."""
    environ = java_environment()
    partial = home.with_name(f"{home.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    with zipfile.ZipFile(_download(partial, version)) as archive:
        archive.extractall(partial)
    unpacked = partial / home.name
    options = ("--db=dev-file", "--health-enabled=false", "--metrics-enabled=false")
    _run(command(unpacked, "build", *options), environ)
    unpacked.rename(home)
    shutil.rmtree(partial)


def _download(directory: Path, version: str) -> Path:
    maven = shutil.which("mvn")
    if maven is None:
        raise RuntimeError(f"Maven (mvn) is missing, which downloads Keycloak {version}")
    copy = [maven, "-B", "-C", "-q", _COPY, f"-Dartifact=org.keycloak:keycloak-quarkus-dist:{version}:zip"]
    _run([*copy, f"-DoutputDirectory={directory}"], os.environ)
    return directory / f"keycloak-quarkus-dist-{version}.zip"


def _run(arguments: list[str], environ: Mapping[str, str]) -> None:
    done = subprocess.run(
        arguments,
        check=False,
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(arguments)} failed:\n{done.stdout[-4000:]}")


def _java_home() -> Path:
    """Return the first of JAVA_VERSIONS that is installed."""
    homes = {_java_version(home): home for home in _installed_javas()}
    for version in JAVA_VERSIONS:
        if version in homes:
            return homes[version]
    raise RuntimeError(f"Java is missing: Keycloak runs on one of {JAVA_VERSIONS}")


def _installed_javas() -> Iterator[Path]:
    for pattern in JAVA_PLACES:
        yield from Path("/").glob(pattern.lstrip("/"))
    if on_path := shutil.which("java"):
        yield Path(on_path).resolve().parent.parent
    if named := os.environ.get("JAVA_HOME"):
        yield Path(named)


def _java_version(home: Path) -> int:
    release = home / "release"
    if not (release.is_file() and (home / "bin" / "java").is_file()):
        return 0
    found = re.search(r'^JAVA_VERSION="(\d+)', release.read_text(), re.MULTILINE)
    return int(found[1]) if found else 0
