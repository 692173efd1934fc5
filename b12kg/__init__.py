"""b12kg: a clinical guideline as an executable graph.

``load()`` gives a guideline; its ``recommend`` answers a record.

>>> import b12kg
>>> answer = b12kg.load().recommend({"id": "urn:example:p", "asOf": "2026-01-15", "absent": ["BariatricSurgery"]})
>>> answer.decisions["PregnancyPlanningMonitoring"].status
'not-applicable'
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from b12kg.errors import (
    B12kgError,
    InvalidGuideline,
    InvalidRecord,
    Problem,
    ReasonerError,
    UnsupportedConstruct,
    UsageError,
)

if TYPE_CHECKING:
    from b12kg.recommend import ExecutableGuideline

__version__ = "0.1.0"

__all__ = [
    "B12kgError",
    "InvalidGuideline",
    "InvalidRecord",
    "Problem",
    "ReasonerError",
    "UnsupportedConstruct",
    "UsageError",
    "__version__",
    "load",
]


def load(where: str | Path | None = None) -> ExecutableGuideline:
    """A guideline that answers records; see :func:`b12kg.recommend.load`."""
    from b12kg.recommend import load as load_executable

    return load_executable(where)
