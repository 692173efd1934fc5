"""Records in: from a mapping, a text or a file, in JSON, RDF or FHIR, to the typed record.

Owns the choice of reader. What a record may say is the same in every format (see json.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from pathlib import Path

from b12kg.errors import Problem, UsageError
from b12kg.guideline import Guideline
from b12kg.record import Record
from b12kg.records.json import read_document, read_json

_LONGEST_PATH = 250  # characters that are repeated in an error
SUFFIXES = {".json": "json", ".ttl": "turtle", ".nt": "nt", ".jsonld": "jsonld", ".ndjson": "fhir"}
# What makes a JSON object a FHIR resource, and no record of ours.
_FHIR = "resourceType"


def read(
    record: Mapping[str, object] | str | bytes | Path,
    guideline: Guideline,
    *,
    format: str = "json",
    as_of: date | None = None,
) -> tuple[Record, list[Problem]]:
    """The record, as far as it can be read, and everything that is wrong with how it is written.

    Args:
        record: a mapping as in the JSON format or a FHIR R4 resource, the path of a file, or its content as bytes.
        format: json, turtle, nt, jsonld or fhir, where no suffix of a path says it; a FHIR resource is
            known in json too. What became of each resource is for :func:`b12kg.records.fhir.read_fhir` to say.
        as_of: the date for a record that states none; what the record states counts first.

    Returns:
        The record with every entry that could be read, and the problems; a record with an error
        among its problems must not be answered.

    Raises:
        InvalidRecord: it is not in that format at all.
        UsageError: the format is unknown, the file cannot be read, or FHIR is read without its extra.
    """
    if isinstance(record, Mapping) and (_FHIR in record or format == "fhir"):
        return _read_fhir(record, guideline, as_of)
    if isinstance(record, Mapping):
        return read_document(record, guideline, as_of)
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
    if format == "fhir" or (format == "json" and f'"{_FHIR}"'.encode() in record):
        return _read_fhir(record, guideline, as_of)
    if format == "json":
        return read_document(read_json(record), guideline, as_of)
    if format in SUFFIXES.values():
        from b12kg.records.rdf import read_rdf

        document, problems = read_rdf(record, format, guideline)
        read_record, more = read_document(document, guideline, as_of)
        return read_record, [*problems, *more]
    raise UsageError(f"no record is read from {format!r}; there are {', '.join(SUFFIXES.values())}")


def _read_fhir(
    data: bytes | Mapping[str, object], guideline: Guideline, as_of: date | None
) -> tuple[Record, list[Problem]]:
    from b12kg.records.fhir import read_fhir  # an extra, and slow to import

    return read_fhir(data, guideline, as_of)[0], []
