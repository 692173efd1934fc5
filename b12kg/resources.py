"""Where the ontology, the queries and the examples lie: in a checkout, or in an installed wheel.

The one module that knows both places.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from b12kg.errors import UsageError

_PACKAGE = Path(__file__).resolve().parent
_WHEEL = _PACKAGE / "_data"
_ROOT = _WHEEL if _WHEEL.is_dir() else _PACKAGE.parent

ONTOLOGY = _ROOT / "ontology"
QUERIES = _ROOT / "queries"
GUIDELINES = ONTOLOGY / "guidelines"
SHAPES = ONTOLOGY / "shapes"
# Which code establishes what, and what else decides what a FHIR resource states.
CODES = ONTOLOGY / "codes.sssom.tsv"
FHIR = ONTOLOGY / "fhir.ttl"
# What is worked out from the ontology: in a wheel only; a checkout keeps it in the user's cache folder.
TABLES = _ROOT / "tables"
PACKAGE = _PACKAGE
EXAMPLES = ONTOLOGY / "examples"


@dataclass(frozen=True, slots=True)
class Tree:
    """What the folders of guidelines are read with: the shared modules, their shapes, and the queries that decide."""

    ontology: Path
    shapes: Path
    queries: Path


def tree_of(folder: Path) -> Tree:
    """The tree that a guideline's folder belongs to: the one it lies in, or else the shipped one.

    It lies in a tree as ``ontology/guidelines/NAME``, with ``ontology/vocabulary.ttl``, ``ontology/shapes``
    and ``queries/decide`` in their places, as in a checkout of any version of this project.
    """
    guidelines = folder.resolve().parent
    ontology = guidelines.parent
    own = Tree(ontology, ontology / "shapes", ontology.parent / "queries")
    whole = (ontology / "vocabulary.ttl").is_file() and own.shapes.is_dir() and (own.queries / "decide").is_dir()
    return own if guidelines.name == GUIDELINES.name and whole else Tree(ONTOLOGY, SHAPES, QUERIES)


def folder_of(where: str | Path | None) -> Path:
    """The folder of a guideline.

    Args:
        where: a folder, or the name of a shipped guideline; None if only one is shipped.

    Raises:
        UsageError: there is no such folder or name.
    """
    shipped = sorted(path.name for path in GUIDELINES.iterdir() if path.is_dir())
    if where is None:
        if len(shipped) != 1:
            raise UsageError(f"name one of the guidelines: {', '.join(shipped)}")
        return GUIDELINES / shipped[0]
    try:
        for folder in (Path(where), GUIDELINES / where):
            if folder.is_dir() and any(folder.glob("*.ttl")):
                return folder
    except (OSError, ValueError) as error:  # ValueError: no file system has such a name
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise UsageError(f"{str(where)[:80]!r}: {reason}") from error
    raise UsageError(f"no folder of Turtle at {str(where)!r}, and no such guideline is shipped: {', '.join(shipped)}")
