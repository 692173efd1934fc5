"""What a check of a guideline finds, and what the guideline itself says that it will find.

Owns the value, its order, and the comparison with what is expected. Finds nothing out: that is for
``audit.py`` and ``source.py``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, replace

from b12kg.guideline import ExpectedAuditFinding
from b12kg.iris import name_of
from b12kg.record import JsonValue


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """One thing that a check found.

    Args:
        severity: error or warning.
        check: the query, shape or comparison that found it.
        iri: what it is about.
        path: the IRI of the property that is wrong; empty if no single one is.
        value: what stands there: an IRI, or a text of ours; never words of the document.
        message: what is wrong, in words.
        expected: why the document itself is the cause, as the guideline says; None if it does not.
    """

    severity: str
    check: str
    iri: str
    path: str
    value: str
    message: str
    expected: str | None = None

    @property
    def entity(self) -> str:
        """What it is about, by name."""
        return name_of(self.iri)

    @property
    def place(self) -> str:
        """What it is about, the property and its value, by name.

        >>> Finding("error", "x", "https://w3id.org/b12kg/A", "https://w3id.org/b12kg/low", "3.0", "odd").place
        'A low 3.0'
        """
        parts = (self.entity, name_of(self.path.replace("#", "/")), name_of(self.value))
        return " ".join(part for part in parts if part)

    def to_dict(self) -> dict[str, JsonValue]:
        """The finding with all of its parts; ``entity`` is its IRI by name."""
        return {
            "severity": self.severity,
            "check": self.check,
            "entity": self.entity,
            "iri": self.iri,
            "property": self.path,
            "value": self.value,
            "message": self.message,
            "expected": self.expected,
        }


def with_reasons(findings: Iterable[Finding], expected: Iterable[ExpectedAuditFinding]) -> tuple[Finding, ...]:
    """The findings, each once and errors first, with the reason of each that is expected; and the unmet expectations.

    An expectation is about one check and one entity, and covers every warning that the check makes of it. An error
    is a defect of the guideline, which nothing about its document excuses. Where an expectation has a digest, it is
    of everything that it covers, values included, so that none of them changes unseen.
    """
    expected = tuple(expected)
    reasons = {(e.check, iri): e.reason for e in expected for iri in e.about}
    explained, met = set(), set()
    for finding in findings:
        key = (finding.check, finding.iri)
        met.add(key)
        explained.add(replace(finding, expected=reasons.get(key) if finding.severity == "warning" else None))
    for one in expected:
        covered = sorted(
            f"{f.iri} {f.path} {f.value}\n" for f in explained if f.check == one.check and f.iri in one.about
        )
        found = hashlib.sha256("".join(covered).encode()).hexdigest()
        if one.sha256 is not None and covered and found != one.sha256:
            message = f"what {one.check} finds is not what was looked at; its digest is {found}"
            explained |= {Finding("error", "expected-otherwise", iri, "", one.check, message) for iri in one.about[:1]}
    unmet = (
        Finding("error", "unmet", iri, "", check, f"{check} was expected here, and does not find it")
        for check, iri in reasons.keys() - met
    )
    return tuple(
        sorted({*explained, *unmet}, key=lambda finding: (finding.severity, finding.check, finding.iri, finding))
    )
