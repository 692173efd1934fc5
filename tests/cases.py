"""The case files, as data: records with the outcomes that they must have.

A case says what it does not name: ``rest: absent`` makes every other concept absent, measurements
ordinary and the jurisdiction GB, but for what it lists as ``unknown``; ``rest: unknown`` adds nothing.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from b12kg.errors import InvalidRecord
from b12kg.guideline import Guideline
from b12kg.recommend import Engine, ExecutableGuideline
from b12kg.recommendation import Recommendation

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


# ---- comparing ---------------------------------------------------------------------------------


def answered(
    executable: ExecutableGuideline, record: Mapping[str, Any], engine: Engine = "table"
) -> Recommendation | InvalidRecord:
    """The answer to a record, or why it is refused."""
    try:
        return executable.recommend(record, engine=engine)
    except InvalidRecord as error:
        return error


def differences(answer: Recommendation | InvalidRecord, expect: Mapping[str, Any]) -> Iterator[str]:
    """What an answer says otherwise than a case expects; nothing where it is as expected."""
    refused = [problem.path for problem in answer.problems] if isinstance(answer, InvalidRecord) else []
    yield from _unequal("refused", refused, expect.get("refused", []))
    if isinstance(answer, InvalidRecord):
        return
    form: dict[str, Any] = answer.to_dict()
    for key, expected in expect.items():
        match key:
            case "refused":
                pass  # compared above
            case "alerts":
                found = [{**alert, "passages": [p["id"] for p in alert["passages"]]} for alert in form["alerts"]]
                yield from _unequal(key, found, expected)
            case "notices":
                yield from _unequal(key, [notice["of"] for notice in form["notices"]], expected)
            case "unused":
                yield from _unequal(key, [unused["path"] for unused in form["unused"]], expected)
            case "offers":
                for offer, parts in expected.items():
                    stated = form["offers"].get(offer, {})
                    yield from _unequal(offer, {part: stated.get(part) for part in parts}, parts)
            case "whatIf":
                for decision, features in expected.items():
                    (others,) = answer.what_if(decision).values()
                    changed = {change.of for other in others for changes in other.changes for change in changes}
                    yield from _unequal(f"what if, {decision}", sorted(changed), features)
            case "text":
                words = " ".join(answer.to_text(width=120).split())
                yield from (f"text: {phrase!r} is not there" for phrase in expected if phrase not in words)
            case decision:
                found = form["decisions"][decision]
                yield from (f"{decision} {words}" for words in _of_decision(found, expected))


def published_differences(answer: Recommendation | InvalidRecord, expect: Mapping[str, Any]) -> Iterator[str]:
    """As :func:`differences`, for a published patient: every decision, and facts in code point order."""
    if isinstance(answer, InvalidRecord):
        yield f"refused: {answer.problems[0]}"
        return
    form: dict[str, Any] = answer.to_dict()
    yield from _unequal("alerts", [alert["rule"] for alert in form["alerts"]], expect.get("alerts", []))
    yield from _unequal("decisions", sorted(form["decisions"]), sorted(expect.keys() - {"alerts"}))
    for decision, found in form["decisions"].items():
        for key, expected in expect.get(decision, {}).items():
            value = sorted(found[key]) if key == "missing" else found[key]
            yield from _unequal(f"{decision} {key}", value, expected)


def _of_decision(found: Mapping[str, Any], expected: Mapping[str, Any]) -> Iterator[str]:
    rules = {finding["rule"]: finding for finding in found["rules"]}
    for key, value in expected.items():
        match key:
            case "status" | "sourceSilent":
                yield from _unequal(key, found[key], value)
            case "missing" | "recommended" | "alternatives" | "possibleAlternatives" | "conflicting" | "possible":
                yield from _unequal(key, found[key], value)
            case "rules":
                yield from _unequal(key, {rule: rules[rule]["state"] for rule in value if rule in rules}, value)
            case "modality":
                yield from _unequal(key, {rule: rules[rule]["modality"] for rule in value if rule in rules}, value)
            case "passages":
                named = {rule: [p["id"] for p in rules[rule]["passages"]] for rule in value if rule in rules}
                yield from _unequal(key, named, value)
            case "overriddenBy":
                by = {r: {o["rule"]: o["basis"] for o in rules[r]["overriddenBy"]} for r in value if r in rules}
                yield from _unequal(key, by, value)
            case "mayBeOverriddenBy":
                maybe = {r: [o["rule"] for o in rules[r]["mayBeOverriddenBy"]] for r in value if r in rules}
                yield from _unequal(key, maybe, value)
            case "arguments":
                for passage, state in value.items():
                    states = {a["state"] for a in found["arguments"] if a["passage"] == passage}
                    yield from _unequal(f"{key} {passage}", states, {state})
            case "argumentsFor" | "argumentsAgainst":
                side = "for" if key == "argumentsFor" else "against"
                for passage, offers in value.items():
                    named_offers = {o for a in found["arguments"] if a["passage"] == passage for o in a[side]}
                    yield from _unequal(f"{key} {passage}", sorted(named_offers), sorted(offers))
            case _:
                raise ValueError(f"a case expects {key!r}, which nothing compares")
    if found["status"] != "undetermined":
        yield from _unequal("missing and possible", [*found["missing"], *found["possible"]], [])


def _unequal(what: str, found: object, expected: object) -> Iterator[str]:
    if found != expected:
        yield f"{what}: {found!r} where {expected!r} is expected"
