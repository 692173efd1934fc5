"""What ``b12kg verify`` prints: the figures of each property, then every finding with its witness.

Owns layout only; what is found is for verify.py.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator

from b12kg.verify import Finding, Verification


def lines(verification: Verification) -> Iterator[str]:
    """The verification in words."""
    guideline, figures = verification.guideline, verification.figures
    yield f"{guideline.label} ({guideline.id} {guideline.version}, {guideline.digest[:19]})"
    yield f"Review status of the source: {guideline.review_status}."
    yield ""
    columns = ("decision", "rows", "possible", "patients", "undetermined", "steps", "questions")
    table = [
        (
            name,
            *map(str, (f.rows, f.possible, f.patients, f.statuses.get("undetermined", 0), f.steps, f.questions)),
        )
        for name, f in figures.items()
    ]
    sums = [str(sum(int(row[place]) for row in table)) for place in range(1, len(columns))]
    widths = [max(map(len, column)) for column in zip(columns, *table, ("in all", *sums), strict=True)]
    for row in (columns, *table, ("in all", *sums)):
        first, *rest = (
            cell.ljust(w) if i == 0 else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        )
        yield "  ".join((first, *rest))
    found = Counter(finding.kind for finding in verification.findings)
    rows_found = Counter({f.kind: 0 for f in verification.findings})
    for finding in verification.findings:
        rows_found[finding.kind] += finding.count
    rows, steps, questions = sums[1], sums[4], sums[5]
    yield ""
    yield f"total       {found['gap']} gaps: ways to be concerned by a decision of which the source says nothing"
    yield f"            {found['unconcerned']} rules apply to somebody whom their decision does not concern"
    pairs = [relation for f in figures.values() for counts in f.pairs.values() for relation in counts]
    together = sum(len(f.pairs) for f in figures.values())
    kinds = ", ".join(f"{word} {count}" for word, count in sorted(Counter(pairs).items()))
    yield f"consistent  {together} pairs of rules apply together{', by patient: ' if kinds else ''}{kinds}"
    roles = Counter(role for f in figures.values() for role in f.roles.values())
    words = ", ".join(f"{count} {role}" for role, count in sorted(roles.items()))
    yield f"live        {words}; {found['idle-override']} of {len(guideline.overrides)} overrides never act"
    yield f"monotone    {rows_found['not-monotone']} of {steps} learned facts turned what was settled, over {rows} rows"
    wrong = rows_found["insufficient-question"] + rows_found["superfluous-question"]
    yield f"minimal     {wrong} of {questions} undetermined rows ask for too little or too much"
    for name, f in figures.items():
        for rule, role in f.roles.items():
            if role != "decides":
                yield f"            {name}: {rule} {role}"
    for finding in verification.findings:
        yield ""
        yield from _finding(finding)
    yield ""
    unexpected = len(verification.unexpected)
    yield f"{len(verification.findings)} findings, {unexpected or 'none'} of them unexpected"
    yield guideline.disclaimer


def _finding(finding: Finding) -> Iterator[str]:
    rules = f": {' + '.join(finding.rules)}" if finding.rules else ""
    lead = "UNEXPECTED " if finding.expected is None else ""
    yield f"{lead}{finding.kind} in {finding.decision}{rules}"
    yield f"  patients  {finding.patients} ({finding.count})"
    if finding.expected is not None:
        yield f"  expected  {finding.expected}"
    yield f"  witness   {json.dumps(finding.witness, ensure_ascii=False)}"
