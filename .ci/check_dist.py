"""Check what the built distributions hold: python check_dist.py DIRECTORY, from the top of the tree.

The wheel must hold the package and nothing else; the sdist whatever is needed to test and document it.
"""

import sys
import tarfile
import zipfile
from pathlib import Path


def tree(*tops: str) -> set[str]:
    """The files of the checkout below these folders."""
    return {
        path.as_posix()
        for top in tops
        for path in Path(top).rglob("*")
        if path.is_file() and not {"__pycache__", "_build"}.intersection(path.parts)
    }


def in_wheel(path: Path) -> set[str]:
    """What the wheel installs, without its own metadata."""
    names = zipfile.ZipFile(path).namelist()
    return {name for name in names if ".dist-info/" not in name}


def in_sdist(path: Path) -> set[str]:
    """The files of the sdist, without the folder that they all lie in."""
    with tarfile.open(path) as archive:
        return {member.name.partition("/")[2] for member in archive if member.isfile()}


def complaints(dist: Path) -> list[str]:
    """One line for each thing that is wrong."""
    [wheel], [sdist] = dist.glob("*.whl"), dist.glob("*.tar.gz")
    package, beside = tree("gopacs_session"), tree("tests", "docs", "benchmarks", ".ci")
    found = [f"wheel lacks {name}" for name in package - in_wheel(wheel)]
    found += [f"wheel should not hold {name}" for name in in_wheel(wheel) - package]
    found += [f"sdist lacks {name}" for name in (package | beside) - in_sdist(sdist)]
    found += [f"the tree has no {top}/" for top in ("tests", "docs") if not tree(top)]
    if "gopacs_session/py.typed" not in package:
        found.append("the package has no py.typed")
    return sorted(found)


if __name__ == "__main__":
    sys.exit("\n".join(complaints(Path(sys.argv[1]))) or None)
