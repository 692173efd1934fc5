"""How long a FHIR bundle takes from bytes to the answer: warm, and as a whole process.

Run by ``make bench``; prints its table and writes it to ``FHIR.md``. A bundle of 750 kB is made of a patient's
conditions and observations, all of which have to be looked at; or, from a real bundle that is named on the
command line, by repeating what is in it under other ids. The process is ``b12kg recommend``, which prints JSON.
"""

from __future__ import annotations

import copy
import json
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import b12kg
from b12kg.records.fhir import read_fhir

SIZE = 750_000  # bytes
RUNS, PROCESSES = 51, 11
WARM, WHOLE = 0.150, 1.0  # seconds that it may take
TODAY = date(2026, 1, 15)
RESULTS = Path(__file__).parent / "FHIR.md"


def made() -> dict[str, Any]:
    """A bundle of a patient with some findings that count and some that have nothing to do with the guideline."""
    patient = {"resourceType": "Patient", "id": "p", "gender": "female", "birthDate": "1960-02-29"}
    about = {"subject": {"reference": "Patient/p"}}
    codes = {"condition-clinical": "active", "condition-ver-status": "confirmed"}
    clinical, verified = (
        {"coding": [{"system": f"http://terminology.hl7.org/CodeSystem/{system}", "code": code}]}
        for system, code in codes.items()
    )
    resources: list[dict[str, Any]] = [patient]
    for snomed, words in (("84027009", "Pernicious anemia"), ("38341003", "Hypertension"), ("44054006", "Diabetes")):
        concept = {"coding": [{"system": "http://snomed.info/sct", "code": snomed, "display": words}], "text": words}
        state = {"clinicalStatus": clinical, "verificationStatus": verified, "onsetDateTime": "2020-03-01"}
        resources.append({"resourceType": "Condition", "id": f"c{snomed}", "code": concept, **state, **about})
    for loinc, words, unit in (
        ("4544-3", "Hematocrit", "%"),
        ("29463-7", "Body weight", "kg"),
        ("8302-2", "Height", "cm"),
    ):
        concept = {"coding": [{"system": "http://loinc.org", "code": loinc, "display": words}], "text": words}
        value = {"value": 41.5, "unit": unit, "system": "http://unitsofmeasure.org", "code": unit}
        measured = {"status": "final", "effectiveDateTime": "2025-05-31T08:15:00Z", "valueQuantity": value}
        resources.append({"resourceType": "Observation", "id": f"o{loinc}", "code": concept, **measured, **about})
    entries = [{"fullUrl": f"urn:x:{r['resourceType']}:{r['id']}", "resource": r} for r in resources]
    return {"resourceType": "Bundle", "type": "collection", "entry": entries}


def enlarged(document: dict[str, Any]) -> bytes:
    """The bundle, with its resources repeated under other ids until it has the size."""
    entries = [entry for entry in document["entry"] if entry["resource"]["resourceType"] != "Patient"]
    document = copy.deepcopy(document)
    number = 0
    while len(json.dumps(document)) < SIZE:
        entry = copy.deepcopy(entries[number % len(entries)])
        entry["fullUrl"] += f"-{number}"
        entry["resource"]["id"] = f"copy-{number}"
        document["entry"].append(entry)
        number += 1
    return json.dumps(document).encode()


def median(run: Callable[[], object], times: int) -> float:
    """Seconds of the median of some runs."""

    def seconds() -> float:
        start = time.perf_counter()
        run()
        return time.perf_counter() - start

    return statistics.median(seconds() for _ in range(times))


def main(source: str | None = None) -> int:
    """Measure; 1 if it takes longer than it may."""
    data = enlarged(made() if source is None else json.loads(Path(source).read_bytes()))
    guideline = b12kg.load()
    guideline.recommend(data, as_of=TODAY)
    warm = median(lambda: guideline.recommend(data, as_of=TODAY).to_dict(), RUNS)
    reading = median(lambda: read_fhir(data, guideline.content, TODAY), RUNS)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bundle.json"
        path.write_bytes(data)
        command = [sys.executable, "-m", "b12kg", "recommend", str(path), "--as-of", f"{TODAY}", "--format", "json"]
        whole = median(lambda: subprocess.run(command, check=True, stdout=subprocess.DEVNULL), PROCESSES)
    what = "made by this program" if source is None else "made from a real one"
    lines = [
        f"# From a FHIR bundle to the answer\n\nWritten by `make bench`; Python {platform.python_version()}.\n",
        f"| {len(data) // 1000} kB, {len(json.loads(data)['entry'])} resources, {what} | median | at most |",
        "| --- | --- | --- |",
        f"| read and answered, as JSON, warm ({RUNS} runs) | {warm * 1000:.0f} ms | {WARM * 1000:.0f} ms |",
        f"| of that, reading | {reading * 1000:.0f} ms | |",
        f"| `b12kg recommend bundle.json --format json`, a whole process ({PROCESSES}) | {whole * 1000:.0f} ms "
        f"| {WHOLE * 1000:.0f} ms |",
    ]
    print("\n".join(lines))
    if source is None:
        RESULTS.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return int(warm > WARM or whole > WHOLE)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:2]))
