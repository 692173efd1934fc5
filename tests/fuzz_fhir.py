"""Bytes for the FHIR reader, changed by what atheris learns of the paths that they take through it.

Run by test_fhir_in.py, and for longer by hand: ``python -m tests.fuzz_fhir FOLDER -max_total_time=600``, where the
folder is for the inputs that took a new path. Anything but an answer or an InvalidRecord ends it, and so does an
input that takes over 4 seconds or 500 MB.
"""

from __future__ import annotations

import json
import resource
import sys
from datetime import date
from pathlib import Path

import atheris  # type: ignore[import-untyped]  # it has no types

with atheris.instrument_imports(include=["b12kg.records"]):
    from b12kg.errors import InvalidRecord
    from b12kg.records.fhir import read_fhir
    from b12kg.turtle import load_guideline

from tests.fhir_resources import PATIENT, POOL, bundle

# The memory is limited by the system: the peak that libFuzzer would look at begins with that of the process that
# started this one.
LIMITS = ["-timeout=4", "-rss_limit_mb=0", "-max_len=40000"]
MEMORY = 500 * 2**20
STATUS = Path("/proc/self/status")
AS_OF = date(2026, 1, 15)


def main(arguments: list[str]) -> None:
    """Fuzz with the arguments of libFuzzer, the first being the folder; ends the process."""
    guideline = load_guideline()
    folder = Path(arguments[0])
    resources = [PATIENT, *POOL]
    seeds = [bundle(PATIENT, one) for one in POOL] + resources
    for number, seed in enumerate(seeds):
        (folder / f"seed-{number}").write_text(json.dumps(seed), encoding="utf-8")
    (folder / "seed-lines").write_text("\n".join(map(json.dumps, resources)), encoding="utf-8")

    _, most = resource.getrlimit(resource.RLIMIT_DATA)
    held = int(next(line for line in STATUS.read_text().splitlines() if line.startswith("VmData")).split()[1]) * 1024
    resource.setrlimit(resource.RLIMIT_DATA, (held + MEMORY, most))

    def read(data: bytes) -> None:
        try:
            read_fhir(data, guideline, AS_OF)
        except InvalidRecord as error:
            if not all(problem.path and problem.message for problem in error.problems):
                raise AssertionError("a problem without a place or a message") from error

    atheris.Setup([sys.argv[0], *LIMITS, f"-artifact_prefix={folder}/", *arguments], read)
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1:])
