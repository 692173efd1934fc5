"""The case files, as data: records with the outcomes that they must have.

A case says what it does not name: ``rest: absent`` makes every other concept absent, measurements
ordinary and the jurisdiction GB, but for what it lists as ``unknown``; ``rest: unknown`` adds nothing.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from b12kg.guideline import Guideline

HERE = Path(__file__).parent
SHARED = Path(os.environ.get("B12KG_SHARED", HERE.parents[1] / "shared"))

ORDINARY = {"DistalIleumResected": (0, "cm"), "Homocysteine": (5, "umol/L"), "Hematocrit": (40, "%")}


@dataclass(frozen=True)
class Case:
    """One record and what is expected of it; ``file`` is the passage that it is about."""

    file: str
    name: str
    rest: str
    unknown: tuple[str, ...]
    stated: dict[str, Any]
    expect: dict[str, Any]

    def record(self, guideline: Guideline) -> dict[str, Any]:
        """The record in the JSON format, with what ``rest`` adds."""
        record: dict[str, Any] = {"id": f"urn:case:{self.file}:{self.name}", "asOf": "2026-01-15", **self.stated}
        if self.rest == "unknown":
            return record
        present = [entry if isinstance(entry, str) else entry["of"] for entry in record.get("present", [])]
        entailed = {parent for concept in present for parent in (concept, *guideline.parents_of(concept))}
        by_treatment = {
            guideline.treatments[t["of"]].statuses[t["status"]].concept for t in record.get("treatments", [])
        }
        named = {*entailed, *by_treatment, *self.unknown, *record.get("absent", [])}
        absent = [*record.get("absent", []), *sorted(guideline.concepts.keys() - named)]
        measured = {m["of"] for m in record.get("measurements", [])}
        ordinary = [
            {"of": of, "value": value, "unit": unit}
            for of, (value, unit) in ORDINARY.items()
            if of not in measured and of not in self.unknown
        ]
        record |= {"absent": absent, "measurements": [*record.get("measurements", []), *ordinary]}
        if "jurisdiction" not in self.unknown:
            record.setdefault("jurisdiction", "GB")
        return record


def cases() -> list[Case]:
    """Every case of every file under ``tests/cases``."""
    found = []
    for path in sorted((HERE / "cases").glob("*.yaml")):
        for case in yaml.safe_load(path.read_text(encoding="utf-8")):
            unknown_keys = case.keys() - {"name", "rest", "unknown", "record", "expect"}
            assert not unknown_keys, (path.name, unknown_keys)
            assert case["rest"] in ("absent", "unknown"), (path.name, case["name"])
            unknown = tuple(case.get("unknown", ()))
            found.append(Case(path.stem, case["name"], case["rest"], unknown, case["record"], case["expect"]))
    return found


def published() -> list[dict[str, Any]]:
    """The published patients with their expected outcomes; empty where the folder is not there."""
    path = SHARED / "cases" / "published.json"
    if not path.is_file():
        return []
    found: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
    return found
