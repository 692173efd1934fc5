"""Records in: from a mapping, a text or a file, in JSON, RDF or FHIR, to the typed record.

Owns the choice of reader, and what a reading gives. What a record may say is the same in every format (see json.py).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from b12kg.errors import InvalidRecord, Problem, UsageError
from b12kg.guideline import Guideline
from b12kg.imported import ImportReport
from b12kg.record import Record
from b12kg.records.json import read_document, read_json

_LONGEST_PATH = 250  # characters that are repeated in an error
SUFFIXES = {".json": "json", ".ttl": "turtle", ".nt": "nt", ".jsonld": "jsonld", ".ndjson": "fhir"}
# What makes a JSON object a FHIR resource, and no record of ours; in a text, as a key.
_FHIR = "resourceType"
_FHIR_KEY = re.compile(rb'"resourceType"\s*:')


@dataclass(frozen=True, slots=True)
class Reading:
    """What reading a record gave.

    Args:
        record: every entry that could be read.
        problems: what is wrong with how it is written; with an error among them it must not be answered.
        imported: what became of each resource, where it was read from FHIR.
    """

    record: Record
    problems: tuple[Problem, ...] = ()
    imported: ImportReport | None = None

    def located(self, problems: list[Problem]) -> list[Problem]:
        """Problems of the record at the places of what it was read from."""
        return problems if self.imported is None else self.imported.located(problems)


def read(
    record: Mapping[str, object] | str | bytes | Path,
    guideline: Guideline,
    *,
    format: str = "json",
    as_of: date | None = None,
) -> Reading:
    """The record, as far as it can be read, and everything that is wrong with how it is written.

    Args:
        record: a mapping as in the JSON format or a FHIR R4 resource, the path of a file, or its content as bytes.
        format: json, turtle, nt, jsonld or fhir, where no suffix of a path says it; a FHIR resource is
            known in json too.
        as_of: the date for a record that states none; what the record states counts first.

    Raises:
        InvalidRecord: it is not in that format at all.
        UsageError: the format is unknown, the file cannot be read, or FHIR is read without its extra.
    """
    if isinstance(record, Mapping) and (_FHIR in record or format == "fhir"):
        return _read_fhir(record, guideline, as_of)
    if isinstance(record, Mapping):
        return _reading(*read_document(record, guideline, as_of))
    if not isinstance(record, bytes):
        path = Path(record)
        format = SUFFIXES.get(path.suffix.lower(), path.suffix.lower() or format)
        try:
            record = path.read_bytes()
        except (OSError, ValueError) as error:  # ValueError: no file system has such a name
            reason = error.strerror if isinstance(error, OSError) else str(error)
            # A text that was meant as the record's content must not be repeated: it is a patient's.
            text = str(path)
            is_path = len(text) < _LONGEST_PATH and "{" not in text and text.isprintable()
            shown = text if is_path else "a text that is no path"
            raise UsageError(f"{shown}: {reason}; the content of a record is passed as bytes") from error
    if format == "fhir" or (format == "json" and _FHIR_KEY.search(record)):
        return _read_fhir(record, guideline, as_of)
    if format == "json":
        return _reading(*read_document(read_json(record), guideline, as_of))
    if format in SUFFIXES.values():
        from b12kg.records.rdf import read_rdf

        document, problems = read_rdf(record, format, guideline)
        read_record, more = read_document(document, guideline, as_of)
        return _reading(read_record, [*problems, *more])
    raise UsageError(f"no record is read from {format!r}; there are {', '.join(dict.fromkeys(SUFFIXES.values()))}")


def read_each(
    data: bytes | Mapping[str, object], guideline: Guideline, *, as_of: date | None = None
) -> dict[str, Reading | InvalidRecord]:
    """The record of every patient of a FHIR input, by type and id of the patient; for one whose is not valid, why.

    Raises:
        InvalidRecord: the input is not in that format at all.
        UsageError: FHIR is read without its extra.
    """
    from b12kg.records.fhir import read_patients  # an extra, and slow to import

    return {
        patient: found if isinstance(found, InvalidRecord) else Reading(found[0], (), found[1])
        for patient, found in read_patients(data, guideline, as_of).items()
    }


def _read_fhir(data: bytes | Mapping[str, object], guideline: Guideline, as_of: date | None) -> Reading:
    from b12kg.records.fhir import read_fhir

    record, imported = read_fhir(data, guideline, as_of)
    return Reading(record, (), imported)


def _reading(record: Record, problems: list[Problem]) -> Reading:
    return Reading(record, tuple(problems))
