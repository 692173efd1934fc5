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
EXAMPLES = ONTOLOGY / "examples"
