"""A guideline held against the document that it was read from: every place, figure, marker and sentence.

Owns what is wrong between the two, and two matrices: each sentence of the document with the passages that cover it,
each passage with what rests on it. Whether the numbers of rules, offers and thresholds are among the figures is for
``queries/audit/``: that takes no document. Keeps no word of the text: only places, digests and numbers.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property, lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, Literal, NamedTuple

from b12kg.errors import InvalidGuideline, Problem, UsageError
from b12kg.findings import Finding
from b12kg.guideline import Guideline
from b12kg.iris import B12, OA, PROV, RDF, name_of
from b12kg.record import JsonValue

if TYPE_CHECKING:
    from rdflib.term import Node

LARGEST = 1_000_000  # bytes; the first guideline's document has some 6 thousand

# Sentences with nothing in common have a likeness of 0 +- 0.1; one changed word in twelve leaves some 0.8.
_LIKE = 0.5
_LANES = 256

State = Literal["there", "moved", "edited", "lost"]

# What a file has to be given for.
CHECKS = frozenset(
    {
        "document-digest",
        "document-form",
        "figure-place",
        "figure-missing",
        "figure-changed",
        "figure-unit",
        "marker-place",
    }
    | {"sentence-uncovered", "sections-unknown", "section-not-covered"}
    | {
        f"{kind}-{how}"
        for kind in ("passage", "claim", "section")
        for how in ("moved", "edited", "lost", "line", "likeness")
    }
)


class Span(NamedTuple):
    """Half-open code point offsets."""

    start: int
    end: int

    def shifted(self, offset: int) -> Span:
        """The same length elsewhere."""
        return Span(self.start + offset, self.end + offset)


@dataclass(frozen=True, slots=True)
class Place:
    """Where something that the graph places in the document stands in the text at hand.

    Args:
        id: a passage, a claim of a review, or a section by its heading.
        state: there; moved (elsewhere, word by word); edited (this is what is most like it); lost.
        line, start, end: where it stands now, in 1-based lines and code points; 0 where it is lost.
        similarity: 1 where its digest is the recorded one; of what is edited, the estimated cosine between both
            texts by their four-character pieces.
    """

    id: str
    state: State
    line: int
    start: int
    end: int
    similarity: float

    def to_dict(self) -> dict[str, JsonValue]:
        """The place with all of its parts."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence of a section that has to be covered, by its place, and the passages that cover it."""

    line: int
    start: int
    end: int
    passages: tuple[str, ...]
    uncovered: bool

    def to_dict(self) -> dict[str, JsonValue]:
        """The sentence as JSON, without its words."""
        return {
            "line": self.line,
            "start": self.start,
            "end": self.end,
            "passages": list(self.passages),
            "uncovered": self.uncovered,
        }


@dataclass(frozen=True, slots=True)
class Use:
    """What rests on a passage, by name, and the works that it cites."""

    passage: str
    rules: tuple[str, ...]
    arguments: tuple[str, ...]
    offers: tuple[str, ...]
    thresholds: tuple[str, ...]
    references: tuple[str, ...]

    def to_dict(self) -> dict[str, JsonValue]:
        """The row as JSON."""
        parts = {name: list(getattr(self, name)) for name in self.__slots__ if name != "passage"}
        return {"passage": self.passage, **parts}


@dataclass(frozen=True, slots=True)
class SourceReport:
    """What was looked at in the document, and what was found.

    Args:
        sha256: the digest of the file at hand; the guideline records that of the one that was read.
        places: every passage, review claim and section, in the order of the document that was read.
        coverage: every sentence of the sections that have to be covered, in the order of the text at hand.
        markers: where each citation marker that is where it is said to be stands, and its number.
        checked: how many of each kind were looked at.
    """

    sha256: str
    findings: tuple[Finding, ...]
    places: tuple[Place, ...]
    coverage: tuple[Sentence, ...]
    markers: tuple[tuple[Span, str], ...]
    checked: Mapping[str, int]

    def to_dict(self) -> dict[str, JsonValue]:
        """The report as JSON; the findings stand with those of the audit."""
        return {
            "sha256": self.sha256,
            "places": [place.to_dict() for place in self.places],
            "coverage": [sentence.to_dict() for sentence in self.coverage],
            "checked": dict(self.checked),
        }


def uses(guideline: Guideline) -> tuple[Use, ...]:
    """What rests on each passage, in the order of the document."""
    from rdflib import URIRef

    graph = guideline.graph()
    thresholds = [*graph.subjects(URIRef(RDF + "type"), URIRef(B12 + "Threshold"))]
    rows = []
    for passage in sorted(guideline.passages.values(), key=lambda passage: passage.start):
        name, derived = passage.id, (URIRef(PROV + "wasDerivedFrom"), URIRef(passage.iri))
        rows.append(
            Use(
                passage=name,
                rules=_names(r.name for r in guideline.rules.values() if name in {s.passage for s in r.support}),
                arguments=_names(a.id for a in guideline.arguments if name in a.passages),
                offers=_names(o.id for o in guideline.offers.values() if any(name in c.passages for c in o.components)),
                thresholds=_names(name_of(str(t)) for t in thresholds if (t, *derived) in graph),
                references=_names(c.reference for c in passage.citations if c.reference is not None),
            )
        )
    return tuple(rows)


def _names(found: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(set(found)))


def check_source(guideline: Guideline, data: bytes) -> SourceReport:
    """How a guideline stands to a file that is said to be its document.

    Whatever is not as the graph says is a finding, be it only that something stands elsewhere. A byte order mark and
    carriage returns are findings too, and left out of the count of characters.

    Args:
        data: the file as it is.

    Raises:
        UsageError: the file is not UTF-8, or larger than :data:`LARGEST`.
        InvalidGuideline: the graph does not say where in the document something stands.

    >>> from b12kg.turtle import load_guideline
    >>> report = check_source(load_guideline(), b"Something else.")
    >>> report.findings[0].check, report.places[0].state
    ('claim-lost', 'lost')
    """
    return _Check(guideline).report(data)


# ---- a text, and what was read from it ---------------------------------------------------------


class Text:
    """A text with its lines; offsets are code points, lines end with a line feed."""

    def __init__(self, text: str) -> None:
        self.text = text

    def of(self, span: Span) -> str:
        """What stands in a range; empty where the range is none of this text."""
        return self.text[span.start : span.end] if 0 <= span.start < span.end else ""

    def line(self, offset: int) -> int:
        """The 1-based line of a character."""
        return self.text.count("\n", 0, offset) + 1

    def lines(self, within: Span) -> Iterator[Span]:
        """Each line of a range, from its first letter or figure to its last character that is no space."""
        for found in re.finditer(r"\w[^\n]*", self.text[within.start : within.end]):
            start = within.start + found.start()
            yield Span(start, start + len(found[0].rstrip()))

    def sentences(self, line: Span) -> Iterator[Span]:
        """The sentences of a line, each from its first letter or figure."""
        cuts = [line.start, *(found.end() for found in _BETWEEN.finditer(self.text, *line)), line.end]
        for start, end in pairwise(cuts):
            if found := re.compile(r"\w").search(self.text, start, end):
                yield Span(found.start(), start + len(self.text[start:end].rstrip()))

    @cached_property
    def candidates(self) -> tuple[Span, ...]:
        """What may be an edited form of something: lines, with and without the markers at their end, and sentences."""
        whole = Span(0, len(self.text))
        found = []
        for line in self.lines(whole):
            ranges = {line, *self.sentences(line)}
            ranges |= {Span(r.start, r.start + len(_MARKERS.sub("", self.of(r)))) for r in ranges}
            found += sorted(range_ for range_ in ranges if range_.start < range_.end)
        return tuple(found)

    @cached_property
    def likenesses(self) -> dict[Span, int]:
        """The likeness digest of each candidate."""
        return {span: likeness_digest(self.of(span)) for span in self.candidates}


# What separates two sentences of a line; before a name it cuts finer than it should, never coarser.
_BETWEEN = re.compile(r"(?<=[.!?])\s+(?=[^\W\d_a-z])")
# How a document lists its citation markers after a sentence.
_MARKERS = re.compile(r"\s+\d+(?:,\s*\d+)*\Z")


def sha256_of(text: str) -> str:
    """The SHA-256 of the UTF-8 of a text, in hexadecimal digits."""
    return hashlib.sha256(text.encode()).hexdigest()


def likeness_digest(text: str) -> int:
    """A digest of 256 bits that is alike for texts that are alike, and from which no text can be read back.

    SimHash over the four-character pieces of the text in lower case, each hashed by SHAKE128.

    Source: M. Charikar, Similarity estimation techniques from rounding algorithms, STOC 2002.

    >>> one, other = likeness_digest("Sage tea is drunk hot."), likeness_digest("Sage tea is drunk cold.")
    >>> similarity(one, one), 0.5 < similarity(one, other) < 1
    (1.0, True)
    """
    words = " ".join(text.lower().split())
    pieces = [words[i : i + 4] for i in range(max(1, len(words) - 3))]
    ones = [0] * _LANES
    for start in range(0, len(pieces), 255):  # a lane is a byte, so that it counts to 255
        lanes = sum(map(_lanes, pieces[start : start + 255])).to_bytes(_LANES, "big")
        ones = [count + more for count, more in zip(ones, lanes, strict=True)]
    return sum((2 * count > len(pieces)) << place for place, count in enumerate(ones))


@lru_cache(maxsize=100_000)
def _lanes(piece: str) -> int:
    """256 bytes, each 0 or 1 by the hash of the piece, as one number, so that lanes can be added at once."""
    return int.from_bytes(hashlib.shake_128(piece.encode()).digest(_LANES).translate(_LAST_BIT), "big")


_LAST_BIT = bytes(byte & 1 for byte in range(256))


def similarity(one: int, other: int) -> float:
    """The cosine between two texts, estimated from their likeness digests; never below 0."""
    differing = (one ^ other).bit_count() / _LANES
    return max(0.0, round(math.cos(math.pi * differing), 2))


class Placed(NamedTuple):
    """What the graph places in the document; ``kind`` is passage, claim or section."""

    id: str
    iri: str
    kind: str
    line: int
    span: Span
    sha256: str
    likeness: int | None


# ---- the checks --------------------------------------------------------------------------------


class _Check:
    """Holds one guideline against one text, and gathers what is found."""

    def __init__(self, guideline: Guideline) -> None:
        from rdflib import URIRef

        self.guideline, self.graph = guideline, guideline.graph()
        self.document = URIRef(guideline.document)
        self.findings: list[Finding] = []
        self.found: set[tuple[Span, str]] = set()
        self.checked: Counter[str] = Counter()
        kinds = {"Passage": "passage", "ReviewClaim": "claim", "Section": "section"}
        placed = (self.placed(node, kind) for class_, kind in kinds.items() for node in self.all(class_))
        self.expected = sorted(placed, key=lambda placed: placed.span)
        self.words = {
            self.one(node, B12 + "name").lower(): Decimal(self.one(node, B12 + "number"))
            for node in self.all("NumberWord")
        }
        spelt = "|".join(map(re.escape, sorted(self.words, key=len, reverse=True))) or "(?!)"
        # Digits that are no part of a name; a word that is no part of another.
        self.units = {
            self.one(node, B12 + "name").lower(): self.one(node, B12 + "unit") for node in self.all("UnitWord")
        }
        units = "|".join(map(re.escape, sorted(self.units, key=len, reverse=True))) or "(?!)"
        self.unit = re.compile(rf"(?<![^\W\d_])(?:{units})(?![^\W_])", re.IGNORECASE)
        self.number = re.compile(rf"(?<![^\W_])\d+(?:\.\d+)?|(?<![\w-])(?:{spelt})(?![\w-])", re.IGNORECASE)

    def report(self, data: bytes) -> SourceReport:
        text = Text(self.read(data))
        places = self.locate(text)
        known = [span for placed in self.expected for span in self.within(text, placed, places[placed.id])]
        coverage = tuple(self.coverage(text, places, known))
        return SourceReport(
            sha256=hashlib.sha256(data).hexdigest(),
            findings=tuple(sorted(set(self.findings))),
            places=tuple(places[placed.id] for placed in self.expected),
            coverage=coverage,
            markers=tuple(sorted(self.found)),
            checked=self.checked,
        )

    def error(self, check: str, node: str, property_: str, value: str, message: str) -> None:
        self.findings.append(Finding("error", check, node, property_, value, message))

    def read(self, data: bytes) -> str:
        """The text of the file; reports what it is not."""
        if len(data) > LARGEST:
            raise UsageError(f"the document has {len(data)} bytes; at most {LARGEST} are read")
        found, recorded = hashlib.sha256(data).hexdigest(), self.one(self.document, B12 + "sha256")
        if found != recorded:
            message = f"this is not the document that was read, whose digest is {recorded}"
            self.error("document-digest", str(self.document), B12 + "sha256", found, message)
        try:
            text = data.decode()
        except UnicodeDecodeError as error:
            raise UsageError(f"the document is not UTF-8 (byte {error.start})") from error
        for odd, name, plain in (("\ufeff", "a byte order mark", ""), ("\r\n", "carriage returns", "\n")):
            if odd in text:
                self.error("document-form", str(self.document), "", "", f"the file has {name}, which are not counted")
                text = text.replace(odd, plain)
        return text

    # -- places

    def locate(self, text: Text) -> dict[str, Place]:
        """Where everything stands: first what is where it was, then what is elsewhere, then what is like the rest."""
        found: dict[str, Place] = {}
        for placed in self.expected:
            if sha256_of(text.of(placed.span)) == placed.sha256:
                found[placed.id] = self.place(text, placed, "there", placed.span, 1.0)
        missing = [placed for placed in self.expected if placed.id not in found]
        starts = [word.start() for word in re.finditer(r"(?<!\w)\w|(?<=[a-z])[A-Z]", text.text)] if missing else []
        for placed in missing:
            length = placed.span.end - placed.span.start
            hits = (s for s in starts if sha256_of(text.text[s : s + length]) == placed.sha256)
            if (start := min(hits, key=lambda s: abs(s - placed.span.start), default=None)) is not None:
                found[placed.id] = self.place(text, placed, "moved", Span(start, start + length), 1.0)
        alike = sorted(
            (-likeness, placed.id, span, placed)
            for placed in missing
            if placed.id not in found and placed.likeness is not None
            for span, digest in text.likenesses.items()
            if (likeness := similarity(digest, placed.likeness)) >= _LIKE
        )
        taken = [Span(place.start, place.end) for place in found.values()]
        for minus, name, span, placed in alike:
            if name not in found and not any(_common(span, other) for other in taken):
                found[name] = self.place(text, placed, "edited", span, -minus)
                taken.append(span)
        for placed in missing:
            if placed.id not in found:
                found[placed.id] = Place(placed.id, "lost", 0, 0, 0, 0.0)
                self.error(
                    f"{placed.kind}-lost", placed.iri, B12 + "sha256", placed.sha256, "nothing in the text is like it"
                )
        return found

    def place(self, text: Text, placed: Placed, state: State, span: Span, likeness: float) -> Place:
        """A place in the text; reports what is not as it was read."""
        self.checked[placed.kind] += 1
        place = Place(placed.id, state, text.line(span.start), *span, likeness)
        where = f"line {place.line}, {span.start}-{span.end}"
        if state == "moved":
            message = f"it stands in {where} and not at {placed.span.start}-{placed.span.end} (similarity 1)"
            self.error(f"{placed.kind}-moved", placed.iri, OA + "hasSelector", where, message)
        elif state == "edited":
            message = f"its words are nowhere; most like it is what stands in {where} (similarity {likeness})"
            self.error(f"{placed.kind}-edited", placed.iri, B12 + "sha256", sha256_of(text.of(span)), message)
        if state in ("there", "moved") and placed.likeness not in (None, likeness_digest(text.of(span))):
            message = f"the likeness digest of what stands there is {likeness_digest(text.of(span)):064x}"
            self.error(f"{placed.kind}-likeness", placed.iri, B12 + "likenessDigest", "", message)
        if state == "there" and place.line != placed.line:
            message = f"it stands in line {place.line} and not in line {placed.line}"
            self.error(f"{placed.kind}-line", placed.iri, B12 + "line", str(placed.line), message)
        return place

    def within(self, text: Text, placed: Placed, place: Place) -> Iterator[Span]:
        """What of the text is accounted for by one thing: its range and its markers; nothing by an edited one."""
        if placed.kind == "passage" and place.state != "lost":
            self.figures(text, placed, place)
        if place.state in ("there", "moved"):
            yield Span(place.start, place.end)
            yield from self.markers(text, placed, place)

    def figures(self, text: Text, placed: Placed, place: Place) -> None:
        """Each figure is a number at its place, and each number a figure; of an edited passage only which they are."""
        span, offset = Span(place.start, place.end), place.start - placed.span.start
        numbers = {Span(*found.span()): self.value(found[0]) for found in self.number.finditer(text.text, *span)}
        figures = {}
        for node in self.of(placed.iri, B12 + "hasFigure"):
            self.checked["figure"] += 1
            stated = Decimal(self.one(node, B12 + "value")), name_of(self.one(node, B12 + "form"))
            at = self.span(node).shifted(offset)
            figures[at] = (str(node), stated)
            if place.state != "edited":
                self.unit_of(text, str(node), Span(at.start, span.end), self.one(node, B12 + "unit"))
        if place.state == "edited":
            before, after = Counter(stated for _, stated in figures.values()), Counter(numbers.values())
            for words, odd in (("is not there any more", before - after), ("was not there", after - before)):
                for value, form in odd.elements():
                    message = f"in {form}, in what it was edited to, {words}"
                    self.error("figure-changed", placed.iri, B12 + "hasFigure", f"{value.normalize():f}", message)
            return
        for at, (iri, (value, form)) in figures.items():
            if numbers.pop(at, None) != (value, form):
                message = f"no {value:f} in {form} stands at {at.start}-{at.end}"
                self.error("figure-place", iri, B12 + "value", f"{value:f}", message)
        for at, (value, form) in numbers.items():
            message = f"the number in {form} at {at.start}-{at.end} is recorded as no figure"
            self.error("figure-missing", placed.iri, B12 + "hasFigure", f"{value:f}", message)

    def unit_of(self, text: Text, figure: str, onward: Span, stated: str) -> None:
        """The first unit word from a figure on, which may be the figure itself, is that of its unit."""
        found = self.unit.search(text.text, *onward)
        unit = None if found is None else self.units[found[0].lower()]
        if unit != stated:
            words = "no word for a unit follows it" if unit is None else f"the word that follows it is for {unit}"
            self.error("figure-unit", figure, B12 + "unit", stated, words)

    def value(self, token: str) -> tuple[Decimal, str]:
        """What a number of the text is, and in which form it stands there."""
        word = self.words.get(token.lower())
        return (Decimal(token), "digits") if word is None else (word, "number-word")

    def markers(self, text: Text, placed: Placed, place: Place) -> Iterator[Span]:
        """The markers that stand where they are said to, behind their passage; reports the others."""
        for node in self.of(placed.iri, B12 + "hasMarker"):
            self.checked["marker"] += 1
            span, marker = self.span(node), self.one(node, B12 + "marker")
            at = span.shifted(place.end - placed.span.end)
            number = self.one(self.node(marker), B12 + "number")
            if text.of(at) == number:
                self.found.add((at, number))
                yield at
            else:
                message = f"this marker does not stand at {at.start}-{at.end}"
                self.error("marker-place", str(node), B12 + "marker", marker, message)

    # -- sentences

    def coverage(self, text: Text, places: Mapping[str, Place], known: Iterable[Span]) -> Iterator[Sentence]:
        """Each sentence of the sections that have to be covered; reports those that are not."""
        accounted = bytearray(len(text.text))
        for start, end in known:
            accounted[start:end] = b"\x01" * (end - start)
        passages = [(Span(p.start, p.end), p.id) for p in places.values() if p.id in self.guideline.passages]
        for section in self.sections(text, places):
            for sentence in (s for line in text.lines(section) for s in text.sentences(line)):
                self.checked["sentence"] += 1
                left = any(text.text[i].isalnum() and not accounted[i] for i in range(*sentence))
                line = text.line(sentence.start)
                if left:
                    where = f"line {line}, {sentence.start}-{sentence.end}"
                    message = "no passage covers all of what stands here"
                    self.error("sentence-uncovered", str(self.document), "", where, message)
                covering = tuple(name for span, name in passages if _common(span, sentence))
                yield Sentence(line, *sentence, covering, left)

    def sections(self, text: Text, places: Mapping[str, Place]) -> Iterator[Span]:
        """The parts of the text under headings of sections that have to be covered."""
        found = [(places[p.id], p) for p in self.expected if p.kind == "section" and places[p.id].state != "lost"]
        found.sort(key=lambda each: each[0].start)
        ends = [*(place.start for place, _ in found[1:]), len(text.text)]
        for (place, section), end in zip(found, ends, strict=False):  # without a section there is an end all the same
            if self.one(self.node(section.iri), B12 + "toBeCovered") == "true":
                yield Span(place.end, end)
            elif any(place.end <= p.start < end for p in places.values() if p.id in self.guideline.passages):
                message = "a passage stands in it, and it is said that none has to cover it"
                self.error("section-not-covered", section.iri, B12 + "toBeCovered", "false", message)
        if not found:
            message = "no heading is found, so that nothing says which sentences have to be covered"
            self.error("sections-unknown", str(self.document), "", "", message)

    # -- what the graph says

    def node(self, iri: str) -> Node:
        from rdflib import URIRef

        return URIRef(iri)

    def all(self, class_: str) -> list[Node]:
        return sorted(self.graph.subjects(self.node(RDF + "type"), self.node(B12 + class_)), key=str)

    def of(self, iri: str, property_: str) -> list[Node]:
        return sorted(self.graph.objects(self.node(iri), self.node(property_)), key=str)

    def one(self, node: Node, property_: str) -> str:
        found = self.of(str(node), property_)
        if len(found) != 1:
            message = "it takes one value to hold the guideline against its document"
            raise InvalidGuideline(
                [Problem(f"{name_of(str(node))} {name_of(property_)}", message, str(len(found)), "1")]
            )
        return str(found[0])

    def span(self, node: Node) -> Span:
        return Span(int(self.one(node, OA + "start")), int(self.one(node, OA + "end")))

    def placed(self, node: Node, kind: str) -> Placed:
        span = self.span(self.node(self.one(node, OA + "hasSelector")))
        likeness = [int(str(digest), 16) for digest in self.of(str(node), B12 + "likenessDigest")]
        line, digest = int(self.one(node, B12 + "line")), self.one(node, B12 + "sha256")
        return Placed(name_of(str(node)), str(node), kind, line, span, digest, likeness[0] if likeness else None)


def _common(one: Span, other: Span) -> bool:
    """Whether two ranges share a character."""
    return max(one.start, other.start) < min(one.end, other.end)
