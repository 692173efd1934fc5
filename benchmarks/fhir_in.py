"""How long a FHIR bundle takes from bytes to the answer: warm, and as a whole process.

Prints its table. A bundle of 750 kB is made from a real one, named on the command line, by repeating what
is in it under other ids; the process is a Python that reads, answers and prints the JSON form.
"""

from __future__ import annotations

import copy
import json
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
PROGRAM = """
import json, sys, b12kg
from datetime import date
from pathlib import Path
answer = b12kg.load().recommend(Path(sys.argv[1]), as_of=date.fromisoformat(sys.argv[2]))
print(json.dumps(answer.to_dict()))
"""


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


def main(source: str) -> int:
    """Measure; 1 if it takes longer than it may."""
    data = enlarged(json.loads(Path(source).read_bytes()))
    guideline = b12kg.load()
    guideline.recommend(data, as_of=TODAY)
    warm = median(lambda: guideline.recommend(data, as_of=TODAY).to_dict(), RUNS)
    reading = median(lambda: read_fhir(data, guideline.content, TODAY), RUNS)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bundle.json"
        path.write_bytes(data)
        command = [sys.executable, "-c", PROGRAM, str(path), TODAY.isoformat()]
        whole = median(lambda: subprocess.run(command, check=True, stdout=subprocess.DEVNULL), PROCESSES)
    print(f"| a FHIR bundle of {len(data) // 1000} kB | median | at most |\n| --- | --- | --- |")
    print(f"| read and answered, warm | {warm * 1000:.0f} ms | {WARM * 1000:.0f} ms |")
    print(f"| of that, reading | {reading * 1000:.0f} ms | |")
    print(f"| a whole process | {whole * 1000:.0f} ms | {WHOLE * 1000:.0f} ms |")
    return int(warm > WARM or whole > WHOLE)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
