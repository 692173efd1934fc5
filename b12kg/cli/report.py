"""What ``b12kg audit`` prints: text, CSV, and one page of HTML that can be printed.

Owns layout only; what is found is for audit.py. The page is complete in itself: no script, and nothing that is fetched.
"""

from __future__ import annotations

import csv
import itertools
from collections.abc import Iterable, Iterator
from html import escape
from typing import TextIO

from b12kg import __version__
from b12kg.audit import Audit
from b12kg.errors import printable
from b12kg.findings import Finding
from b12kg.guideline import Citation, Rule
from b12kg.iris import name_of

_COLUMNS = ("severity", "check", "entity", "property", "value", "message", "expected", "iri")


def lines(audit: Audit, *, every: bool) -> Iterator[str]:
    """The audit in words: what is unexpected, how much is expected, what was not checked.

    Args:
        every: whether each expected finding has a line of its own.
    """
    guideline = audit.guideline
    yield f"{guideline.label} ({guideline.id} {guideline.version}, {guideline.digest[:19]})"
    yield f"Review status of the source: {guideline.review_status}."
    yield ""
    expected = [finding for finding in audit.findings if finding.expected is not None]
    for finding in audit.findings:
        if finding.expected is None:
            yield printable(f"UNEXPECTED {finding.severity}: {finding.place}: {finding.message} [{finding.check}]")
    for wrong in audit.verification.unexpected:
        yield f"UNEXPECTED {wrong.kind} in {wrong.decision}: {wrong.patients} (see `b12kg verify`)"
    for (check, reason), found in itertools.groupby(expected, key=lambda finding: (finding.check, finding.expected)):
        group = [*found]
        yield f"expected   {check}: {len(group)}"
        yield f"           {reason}"
        if every:
            yield from (printable(f"           - {finding.place}") for finding in group)
    proven = len(audit.verification.findings) - len(audit.verification.unexpected)
    yield f"expected   conflicts and gaps over every patient: {proven} (see `b12kg verify`)"
    yield ""
    if audit.source is not None:
        looked_at = ", ".join(f"{count} {kind}s" for kind, count in sorted(audit.source.checked.items()))
        yield f"document   {audit.source.sha256[:12]}: {looked_at}"
    if audit.cases:
        yield f"cases      {audit.cases} test patients"
    yield from (f"unchecked  {words}" for words in audit.unchecked)
    total = len(audit.findings) + len(audit.verification.findings)
    yield f"{total} findings, {audit.unexpected or 'none'} of them unexpected"
    yield guideline.disclaimer


def write_csv(audit: Audit, file: TextIO) -> None:
    """A row a finding; what begins as a formula of a spreadsheet would is set apart by an apostrophe."""
    rows = csv.writer(file)
    rows.writerow(_COLUMNS)
    for finding in audit.findings:
        form = finding.to_dict()
        rows.writerow([_cell("" if form[column] is None else str(form[column])) for column in _COLUMNS])
    for proven in audit.verification.findings:
        rules, iri = " + ".join(proven.rules), audit.guideline.decisions[proven.decision].iri
        row = ("error", proven.kind, proven.decision, "", rules, proven.patients, proven.expected or "", iri)
        rows.writerow(map(_cell, row))


def _cell(text: str) -> str:
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text


# ---- the page ----------------------------------------------------------------------------------

_STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #8881; --bad: #b3261e; --good: #1b6e3c; }
@media (prefers-color-scheme: dark) { :root { --bad: #ff8a80; --good: #7bd99b; } }
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 70rem; margin: 0 auto; padding: 1.5rem; }
h1 { line-height: 1.2; margin-bottom: .2em; } h2 { margin-top: 2.2em; border-bottom: 1px solid var(--line); }
table { border-collapse: collapse; width: 100%; font-size: .875rem; }
th, td { text-align: left; vertical-align: top; padding: .3rem .6rem .3rem 0; border-bottom: 1px solid var(--line);
  overflow-wrap: break-word; }
.facts td { overflow-wrap: anywhere; }
th { white-space: nowrap; } caption { text-align: left; padding-bottom: .4rem; }
.wide { overflow-x: auto; }
.notice { background: var(--soft); border-left: .3rem solid var(--line); padding: .7rem 1rem; }
.bad { color: var(--bad); font-weight: 600; } .good { color: var(--good); font-weight: 600; }
nav ul { padding-left: 1.2rem; }
details { margin-bottom: 1.4rem; }
code { font-size: .85em; overflow-wrap: anywhere; } summary { cursor: pointer; padding: .3rem 0; }
@media print { body { max-width: none; padding: 0; font-size: 9pt; } h2 { break-after: avoid; }
  tr { break-inside: avoid; } }
"""


def page(audit: Audit) -> str:
    """The audit as one page of HTML."""
    guideline, unexpected = audit.guideline, audit.unexpected
    total = len(audit.findings) + len(audit.verification.findings)
    verdict = (
        f'<p class="bad">&#10007; {unexpected} unexpected findings</p>'
        if unexpected
        else '<p class="good">&#10003; Nothing unexpected was found</p>'
    )
    parts = [
        "<!doctype html>",
        f'<html lang="en"><head><meta charset="utf-8"><title>Audit of {escape(guideline.label)}</title>',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<style>{_STYLE}</style></head><body><main>",
        f"<h1>Audit of {escape(guideline.label)}</h1>",
        verdict,
        f'<p class="notice">Review status of the source: {escape(guideline.review_status)}.<br>'
        f"{escape(guideline.disclaimer)}</p>",
        _table(
            "What was looked at",
            ("", ""),
            [
                ("Guideline", f"{guideline.id}, version {guideline.version}"),
                ("Digest", guideline.digest),
                ("Document", f"{guideline.title}; {guideline.publisher}; last updated {guideline.last_updated}"),
                (
                    "Findings",
                    f"{total}, of them {unexpected} unexpected",
                ),
                ("Test patients", str(audit.cases)),
                ("Not checked", "; ".join(audit.unchecked) or "nothing that there is a check for"),
                ("By", f"b12kg {__version__}"),
            ],
        ),
        '<nav aria-label="Parts"><ul>',
        *(f'<li><a href="#{id_}">{title}</a></li>' for id_, (title, _) in _PARTS.items()),
        "</ul></nav>",
        *itertools.chain.from_iterable(
            (f'<h2 id="{id_}">{title}</h2>', *made(audit)) for id_, (title, made) in _PARTS.items()
        ),
        "</main></body></html>",
    ]
    return "\n".join(parts)


def _unexpected(audit: Audit) -> Iterator[str]:
    unexpected = [finding for finding in audit.findings if finding.expected is None]
    if unexpected:
        rows = [(f.severity, f.check, f.place, f.message) for f in unexpected]
        yield _table("Findings that nobody has explained", ("Severity", "Check", "Where", "What"), rows)
    else:
        yield "<p>None.</p>"


def _expected(audit: Audit) -> Iterator[str]:
    yield "<p>What limits the trust in the document, and what in its reading is ours.</p>"
    expected = [finding for finding in audit.findings if finding.expected is not None]
    for (check, reason), found in itertools.groupby(expected, key=lambda finding: (finding.check, finding.expected)):
        group: list[Finding] = [*found]
        yield f"<details open><summary><strong>{escape(group[0].message)}</strong> ({len(group)})</summary>"
        yield f"<p>{escape(reason or '')} <code>{escape(check)}</code></p>"
        rows = [(_label(audit, f.iri), f.entity, _label(audit, f.value)) for f in group]
        yield _table("", ("What", "Name", "What stands there"), rows)
        yield "</details>"


def _label(audit: Audit, value: str) -> str:
    """The label of an IRI of the guideline's graph; any other value as it is."""
    from rdflib import RDFS, URIRef

    if ":" not in value or " " in value:
        return value
    label = audit.guideline.graph().value(URIRef(value), RDFS.label)
    return name_of(value) if label is None else str(label)


def _over_every_patient(audit: Audit) -> Iterator[str]:
    rows = sum(figures.rows for figures in audit.verification.figures.values())
    yield f"<p>Worked out over {rows} rows of {len(audit.verification.figures)} decisions.</p>"
    yield _table(
        "",
        ("Kind", "Decision", "Rules", "Patients", "Reason"),
        [
            (f.kind, f.decision, " + ".join(f.rules), f.patients, f.expected or "UNEXPECTED")
            for f in audit.verification.findings
        ],
    )


def _rules(audit: Audit) -> Iterator[str]:
    guideline = audit.guideline

    def source_of(rule: Rule) -> str:
        words = []
        for support in rule.support:
            passage = guideline.passages[support.passage]
            cited = "; ".join(_cited(audit, citation) for citation in passage.citations) or "no citation"
            words.append(f"{passage.id} (line {passage.line}): {cited}")
        return "\n".join(words)

    yield _table(
        "",
        ("Rule", "For", "Says", "Offers", "Passages and what they cite", "Ours"),
        [
            (
                rule.label,
                guideline.phenotypes[rule.phenotype].label,
                rule.modality,
                "\n".join(guideline.offers[offer].label for offer in rule.offers),
                source_of(rule),
                "\n".join((*rule.editorial, *(words for support in rule.support for words in support.editorial))),
            )
            for _, rule in sorted(guideline.rules.items())
        ],
    )
    yield _table(
        "Which rule is followed where two apply",
        ("Rule", "Rather than", "Basis", "Passages", "Ours"),
        [
            (o.preferred, o.over, o.basis, ", ".join(o.passages), "\n".join(o.editorial))
            for o in sorted(guideline.overrides, key=lambda o: (o.preferred, o.over))
        ],
    )


def _cited(audit: Audit, citation: Citation) -> str:
    if citation.reference is None:
        return f"[{citation.marker}] {citation.resolution}"
    reference = audit.guideline.references[citation.reference]
    return f"[{citation.marker}] {reference.title} ({citation.resolution})"


def _passages(audit: Audit) -> Iterator[str]:
    rows = []
    for use in audit.uses:
        passage = audit.guideline.passages[use.passage]
        where = f"line {passage.line}, {passage.start}-{passage.end}\nsha256 {passage.sha256[:12]}"
        rest = (use.rules, use.arguments, use.offers, use.thresholds)
        rows.append((use.passage, where, passage.paraphrase, *("\n".join(names) for names in rest)))
    yield _table("", ("Passage", "Where", "In our words", "Rules", "Arguments", "Offers", "Thresholds"), rows)


def _document(audit: Audit) -> Iterator[str]:
    if audit.source is None:
        yield "<p>Not checked: the document was not given.</p>"
        return
    yield f"<p>By place; its words are not repeated. Digest of the file: <code>{escape(audit.source.sha256)}</code></p>"
    moved = [place for place in audit.source.places if place.state != "there"]
    if moved:
        yield _table(
            "What does not stand where it was read",
            ("What", "State", "Now in line", "At", "Similarity"),
            [(p.id, p.state, str(p.line), f"{p.start}-{p.end}", str(p.similarity)) for p in moved],
        )
    yield _table(
        "",
        ("Line", "At", "Passages"),
        [
            (str(s.line), f"{s.start}-{s.end}", " ".join((*s.passages, *(["NOT COVERED"] if s.uncovered else []))))
            for s in audit.source.coverage
        ],
    )


_PARTS = {
    "unexpected": ("Unexpected", _unexpected),
    "patients": ("Conflicts and gaps, over every patient", _over_every_patient),
    "expected": ("What limits the trust, with the reason", _expected),
    "rules": ("Each rule, down to its references", _rules),
    "passages": ("Each passage, and what rests on it", _passages),
    "sentences": ("Each sentence of the document, and the passages that cover it", _document),
}


def _table(caption: str, columns: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """A table; a line break of a cell is kept, and a table without column names has its names in the first column."""
    named = any(columns)
    head = "".join(f'<th scope="col">{escape(column)}</th>' for column in columns) if named else ""
    body = []
    for row in rows:
        cells = [escape(printable_lines(cell)).replace("\n", "<br>") for cell in row]
        first = f'<th scope="row">{cells[0]}</th>' if not named else f"<td>{cells[0]}</td>"
        body.append(f"<tr>{first}{''.join(f'<td>{cell}</td>' for cell in cells[1:])}</tr>")
    title = f"<caption>{escape(caption)}</caption>" if caption else ""
    top = f"<thead><tr>{head}</tr></thead>" if named else ""
    class_ = "wide" if named else "facts"
    return f'<div class="{class_}"><table>{title}{top}<tbody>{"".join(body)}</tbody></table></div>'


def printable_lines(text: str) -> str:
    """The text with what would not show as escapes, line breaks apart."""
    return "\n".join(map(printable, text.split("\n")))
