"""Where a version of a guideline lies: a folder, a shipped name, or a revision of a git repository.

Owns the taking out of a revision's files. Nothing is checked out: the repository is only read.
"""

from __future__ import annotations

import io
import subprocess
import tarfile
from pathlib import Path

from b12kg.errors import UsageError
from b12kg.resources import GUIDELINES, folder_of, tree_of

_LONGEST = 250  # characters of a name; file systems and git take no longer ones


def resolve(where: str, into: Path, name: str | None = None) -> Path:
    """The folder of a version of a guideline.

    A revision is read with its own ontology and decide queries; the Python is the present one.

    Args:
        where: a folder of Turtle, the name of a shipped guideline, or a revision of the git repository
            of the current folder; ``1.2.0`` is also looked for as the tag ``v1.2.0``.
        into: an empty folder of the caller's, which takes the files of a revision.
        name: which of a revision's guidelines; None if it has only one.

    Raises:
        UsageError: it is none of these, or the revision has no such guideline.
    """
    if where.startswith("-") or "\0" in where or not 0 < len(where) <= _LONGEST:
        raise UsageError(f"{where[:_LONGEST]!r} is no folder, guideline or revision")
    for folder in (Path(where), GUIDELINES / where):
        if folder.is_dir() and any(folder.glob("*.ttl")):
            return folder_of(where)
    top = _git(Path.cwd(), "rev-parse", "--show-toplevel")
    if top is None:
        raise UsageError(
            f"no folder of Turtle at {where!r}, no such guideline is shipped, and here is no git repository"
        )
    root = Path(top.decode().strip())
    commits = (_git(root, "rev-parse", "--verify", "--quiet", f"{name}^{{commit}}") for name in (where, f"v{where}"))
    commit = next((found.decode().strip() for found in commits if found is not None), None)
    if commit is None:
        raise UsageError(f"no folder of Turtle, shipped guideline or git revision is called {where!r}")
    archive = _git(root, "archive", "--format=tar", commit, "--", "ontology", "queries")
    if archive is None:
        raise UsageError(f"revision {where!r} has no folders ontology and queries")
    try:
        with tarfile.open(fileobj=io.BytesIO(archive)) as files:
            files.extractall(into, filter="data")
    except tarfile.TarError as error:
        raise UsageError(f"revision {where!r} cannot be taken out: {error}") from error
    return _guideline_in(into / "ontology" / "guidelines", where, name)


def _guideline_in(guidelines: Path, where: str, name: str | None) -> Path:
    found = {path.name: path for path in sorted(guidelines.glob("*/")) if any(path.glob("*.ttl"))}
    wanted = name if name is not None or len(found) != 1 else next(iter(found))
    if wanted is None or wanted not in found:
        asked = "name one of its guidelines" if name is None else f"it has no guideline {name!r}"
        raise UsageError(f"revision {where!r}: {asked}: {', '.join(found) or 'there are none'}")
    if tree_of(found[wanted]).ontology != guidelines.resolve().parent:
        raise UsageError(f"revision {where!r} has no vocabulary, shapes or decide queries to read its guidelines with")
    return found[wanted]


def _git(folder: Path, *arguments: str) -> bytes | None:
    """What git prints; None where it fails.

    Raises:
        UsageError: git is not installed.
    """
    try:
        # No shell, and a revision that begins like an option was refused: git sees names only.
        done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, check=False)  # noqa: S603, S607
    except FileNotFoundError as error:
        raise UsageError("git is not installed, so that no revision can be read") from error
    return done.stdout if done.returncode == 0 else None
