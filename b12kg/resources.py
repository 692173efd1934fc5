"""Where the ontology, the queries and the examples lie: in a checkout, or in an installed wheel.

The one module that knows both places.
"""

from __future__ import annotations

from pathlib import Path

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
