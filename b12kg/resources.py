"""Where the ontology, the queries and the examples lie: in a checkout, or in an installed wheel.

The one module that knows both places.
"""

from __future__ import annotations

from pathlib import Path

from b12kg.errors import UsageError

_PACKAGE = Path(__file__).resolve().parent
_WHEEL = _PACKAGE / "_data"
_ROOT = _WHEEL if _WHEEL.is_dir() else _PACKAGE.parent

ONTOLOGY = _ROOT / "ontology"
QUERIES = _ROOT / "queries"
GUIDELINES = ONTOLOGY / "guidelines"
SHAPES = ONTOLOGY / "shapes"
# What is worked out from the ontology: in a wheel only; a checkout keeps it in the user's cache folder.
TABLES = _ROOT / "tables"
PACKAGE = _PACKAGE
EXAMPLES = ONTOLOGY / "examples"


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
    for folder in (Path(where), GUIDELINES / where):
        if folder.is_dir() and any(folder.glob("*.ttl")):
            return folder
    raise UsageError(f"no folder of Turtle at {str(where)!r}, and no such guideline is shipped: {', '.join(shipped)}")
