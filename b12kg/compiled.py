"""A guideline worked out for answering: its values, its tables and its compiled shapes, in one file.

Owns that file: what it is made from, where it lies, and when it is made again. It is derived, never
edited, and named by a fingerprint of everything that it is made from, so that a stale one is not found.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import re
import time
import warnings
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from b12kg import __version__, expression, guideline, outcome, shacl, tables
from b12kg.codec import decode, encode
from b12kg.guideline import Guideline
from b12kg.resources import PACKAGE, TABLES, folder_of, tree_of
from b12kg.shacl import Shapes
from b12kg.tables import Tables

FORMAT = 1
_OURS = re.compile(r"-[0-9a-f]{32}\.json\Z")
_KEPT = 8  # files of the cache folder; each is some hundred KB, and an edit of a guideline makes a new one
_CLASSES = [
    class_
    for module in (expression, guideline, outcome, shacl, tables)
    for class_ in vars(module).values()
    if isinstance(class_, type) and dataclasses.is_dataclass(class_)
]


@dataclass(frozen=True, slots=True)
class Compiled:
    """What answering takes: the guideline, its tables, and the shapes of its records."""

    guideline: Guideline
    tables: Tables
    shapes: Shapes


def load_compiled(where: str | Path | None = None) -> Compiled:
    """The guideline as it was worked out before, or worked out now and kept for the next time.

    Arguments and errors as of :func:`b12kg.turtle.load_guideline`.

    >>> load_compiled("droracle-2025").guideline.id
    'droracle-2025'
    """
    folder = folder_of(where)
    name = file_name(folder)
    for place in (TABLES, cache_folder()):
        found = read(place / name, folder)
        if found is not None:
            return found
    made = compile_guideline(folder)
    try:
        if file_name(folder) == name:  # otherwise something was edited meanwhile
            write(made, cache_folder() / name, folder)
            _prune(cache_folder())
    except OSError as error:
        # The answers are the same; only the next process has to work them out again.
        warnings.warn(f"the tables of {made.guideline.id} are not kept: {error}", stacklevel=2)
    return made


def compile_guideline(folder: Path) -> Compiled:
    """Work out a guideline from its Turtle.

    Raises:
        InvalidGuideline: it cannot be worked with; every reason is given.
    """
    from b12kg.decide import decide
    from b12kg.tabulate import build
    from b12kg.turtle import load_guideline
    from b12kg.validate import compiled

    content = load_guideline(folder)
    return Compiled(content, build(content, partial(decide, content)), compiled(content))


def file_name(folder: Path) -> str:
    """The name of the file for the guideline in a folder, as its files and this package now are."""
    tree = tree_of(folder)
    parts = [*tree.ontology.glob("*.ttl"), *tree.shapes.glob("*.ttl"), *(tree.queries / "decide").glob("*.rq")]
    named = [(path.relative_to(tree.ontology.parent).as_posix(), path) for path in parts]
    named += [(f"guideline/{path.name}", path) for path in folder.glob("*.ttl")]
    named += [(f"package/{path.relative_to(PACKAGE).as_posix()}", path) for path in PACKAGE.rglob("*.py")]
    lines = [f"{name} {hashlib.sha256(path.read_bytes()).hexdigest()}\n" for name, path in sorted(named)]
    made_from = hashlib.sha256(f"{FORMAT} {__version__}\n{''.join(lines)}".encode()).hexdigest()
    return f"{folder.resolve().name}-{made_from[:32]}.json"


def cache_folder() -> Path:
    """Where this user's files of worked-out guidelines lie."""
    from platformdirs import user_cache_path

    return user_cache_path("b12kg", appauthor=False)


def read(path: Path, folder: Path) -> Compiled | None:
    """What the file holds; None where there is none that can be read, or where it is not as it was written."""
    try:
        digest, _, body = path.read_bytes().partition(b"\n")
    except OSError:  # no file, or no permission: it is worked out as if there were none
        return None
    if digest.decode("ascii", "replace") != hashlib.sha256(body).hexdigest():
        return None
    form = json.loads(body)
    content, made, shapes = decode(form, _CLASSES)
    paths = {key: tuple(_path(name, folder) for name in form[key]) for key in ("files", "shapes")}
    return Compiled(dataclasses.replace(content, **paths), made, shapes)


def write(compiled: Compiled, path: Path, folder: Path) -> None:
    """Write the file at once and whole: a reader finds all of it or nothing.

    Raises:
        OSError: the folder cannot be written to.
    """
    content = dataclasses.replace(compiled.guideline, files=(), shapes=())
    form = encode((content, compiled.tables, compiled.shapes))
    for key, paths in (("files", compiled.guideline.files), ("shapes", compiled.guideline.shapes)):
        form[key] = [_name(found, folder) for found in paths]
    import tempfile

    body = json.dumps(form, ensure_ascii=False, separators=(",", ":")).encode()
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, suffix=".part")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(hashlib.sha256(body).hexdigest().encode() + b"\n" + body)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _prune(folder: Path) -> None:
    """Remove all but the newest files of the cache folder, and what killed processes left half written."""
    ours = [path for path in folder.glob("*.json") if _OURS.search(path.name)]
    for old in (*sorted(ours, key=_age)[_KEPT:], *(p for p in folder.glob("*.part") if _age(p) > -time.time() + 3600)):
        old.unlink(missing_ok=True)


def _age(path: Path) -> float:
    """For sorting from new to old; a file that another process has just removed is the oldest."""
    try:
        return -path.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _name(path: Path, folder: Path) -> str:
    return path.name if path.parent == folder else f"/{path.relative_to(tree_of(folder).ontology).as_posix()}"


def _path(name: str, folder: Path) -> Path:
    return tree_of(folder).ontology / name[1:] if name.startswith("/") else folder / name
