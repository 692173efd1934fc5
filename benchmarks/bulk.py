"""How long a FHIR bulk export takes to features and to decisions, beside what DuckDB takes to read it at all.

Prints its table. The bare read is DuckDB's own of the same files in the same run, with explicit columns: those
elements that state something for the guideline, each counted and none looked at. Both are run in turn; the best of
each counts.

Usage: python benchmarks/bulk.py FOLDER [RUNS], the folder as benchmarks/bulk_export.py writes it
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path

import duckdb

import b12kg
from b12kg.guideline import JURISDICTION
from b12kg.recommend import ExecutableGuideline
from b12kg.records.bulk import Export, read_bulk

TODAY = date(2026, 1, 15)
AT_MOST = 2.0  # times the bare read
_CODE = "STRUCT(coding STRUCT(system VARCHAR, code VARCHAR)[])"
_PERIOD = 'STRUCT("start" VARCHAR, "end" VARCHAR)'
_COLUMNS = {
    "resourceType": "VARCHAR",
    "id": "VARCHAR",
    "birthDate": "VARCHAR",
    "subject": "STRUCT(reference VARCHAR)",
    "patient": "STRUCT(reference VARCHAR)",
    "status": "VARCHAR",
    "intent": "VARCHAR",
    "clinicalStatus": _CODE,
    "verificationStatus": _CODE,
    "code": _CODE,
    "medicationCodeableConcept": _CODE,
    "onsetDateTime": "VARCHAR",
    "abatementDateTime": "VARCHAR",
    "recordedDate": "VARCHAR",
    "performedDateTime": "VARCHAR",
    "performedPeriod": _PERIOD,
    "effectiveDateTime": "VARCHAR",
    "authoredOn": "VARCHAR",
    "valueQuantity": "STRUCT(value DECIMAL(18,6), comparator VARCHAR, unit VARCHAR, system VARCHAR, code VARCHAR)",
}


def bare(files: list[str]) -> None:
    """DuckDB's read with explicit columns, and nothing else."""
    columns = ", ".join(f"{name}: '{type_}'" for name, type_ in _COLUMNS.items())
    reading = f"read_json($files, format = 'newline_delimited', columns = {{{columns}}})"
    duckdb.connect().execute(f"SELECT count(COLUMNS(*)) FROM {reading}", {"files": files}).fetchall()


def decide(executable: ExecutableGuideline, export: Export, connection: duckdb.DuckDBPyConnection) -> int:
    """One outcome code a patient and decision, by looking rows up in the tables; returns how many patients."""
    tables = executable.compiled.tables
    codes = []
    for place, (name, table) in enumerate(tables.decisions.items()):
        terms = [f"{table.strides[f.name]} * ({_index(executable, f.name, f.values)})" for f in table.features]
        connection.execute(
            f"CREATE OR REPLACE TEMP TABLE table_{place} AS SELECT ?::INTEGER[] AS codes", [[*table.codes]]
        )
        codes.append(f'(SELECT codes FROM table_{place})[1 + {" + ".join(terms) or "0"}] AS "{name}"')
    connection.execute(f"CREATE OR REPLACE TEMP TABLE decided AS SELECT patient, {', '.join(codes)} FROM features")
    ((count,),) = connection.execute("SELECT count(*) FROM decided").fetchall()
    return int(count)


def _index(executable: ExecutableGuideline, feature: str, values: tuple[str, ...]) -> str:
    """The index of a feature's value as SQL; the one after the last where it is unknown."""
    guideline, unknown = executable.content, len(values)
    if feature in guideline.concepts:
        return f'CASE WHEN "{feature}" THEN 0 WHEN NOT "{feature}" THEN 1 ELSE {unknown} END'
    if feature == JURISDICTION:
        known = " ".join(f"WHEN '{value}' THEN {index}" for index, value in enumerate(values[:-1]))
        return f'CASE "{feature}" {known} ELSE CASE WHEN "{feature}" IS NULL THEN {unknown} ELSE {unknown - 1} END END'
    signs = {"minInclusive": ">=", "minExclusive": ">", "maxInclusive": "<=", "maxExclusive": "<"}
    cases = []
    for index, bin_ in enumerate(executable.compiled.tables.bins[feature]):
        bounds = [f'"{feature}" {signs[bound.facet]} {bound.value}::DOUBLE' for bound in bin_.restrictions]
        cases.append(f"WHEN {' AND '.join(bounds) or 'true'} THEN {index}")
    return f'CASE WHEN "{feature}" IS NULL THEN {unknown} {" ".join(cases)} END'


def seconds(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def main(folder: Path, runs: int) -> int:
    """Measure; 1 if it takes longer than it may."""
    files = sorted(map(str, folder.glob("*.ndjson")))
    size = sum(Path(file).stat().st_size for file in files)
    executable = b12kg.load()
    best: dict[str, float] = {}
    for _ in range(runs):
        connection = duckdb.connect()
        exports: list[Export] = []
        taken = {
            "the bare read": seconds(lambda: bare(files)),
            "to features": seconds(
                lambda: exports.append(read_bulk(folder, executable.content, TODAY, connection))  # noqa: B023
            ),
            "features to decisions": seconds(lambda: decide(executable, exports[0], connection)),  # noqa: B023
        }
        best = {name: min(time_, best.get(name, time_)) for name, time_ in taken.items()}
    ratio = (best["to features"] + best["features to decisions"]) / best["the bare read"]
    print(f"| {size / 1e9:.2f} GB, {exports[0].counts['patients']:,} patients | seconds |\n| --- | --- |")
    for name, time_ in best.items():
        print(f"| {name} | {time_:.2f} |")
    print(f"\n{ratio:.2f} times the bare read, at most {AT_MOST}\n{dict(exports[0].counts)}")
    return int(ratio > AT_MOST)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 2))
