"""Why a decision comes to its answer, as a picture: from facts over rules and passages to the works that they cite.

Owns what stands in which column, where, and which lines lead on. The same is said in words beside it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from textwrap import wrap

from b12kg.guideline import Guideline
from b12kg.recommendation import Answer
from b12kg.recommendation.words import Words

COLUMNS = ("Facts", "Rules", "Passages", "Markers", "Works")
_WIDTH, _GAP, _LINE, _LETTERS, _LINES, _HEAD = 130, 18, 16, 18, 5, 28
_PADDING, _BETWEEN = 7, 12


@dataclass(frozen=True, slots=True)
class Box:
    """A box of the picture: its place and size, its lines, and all of its words."""

    x: int
    y: int
    height: int
    lines: tuple[str, ...]
    words: str
    kind: str


@dataclass(frozen=True, slots=True)
class Picture:
    """Boxes, and the lines between them as paths of SVG; none where no rule applies."""

    width: int
    height: int
    boxes: tuple[Box, ...]
    paths: tuple[str, ...]
    box_width: int = _WIDTH
    line: int = _LINE
    padding: int = _PADDING

    @property
    def heads(self) -> list[tuple[int, str]]:
        """The words over the columns, each with its place."""
        return [(column * (_WIDTH + _GAP), words) for column, words in enumerate(COLUMNS)]


def picture(guideline: Guideline, answer: Answer, words: Words) -> Picture:
    """The picture of one decision: the rules that apply or are overridden, what they rest on, and where they stand."""
    columns: list[dict[str, str]] = [{} for _ in COLUMNS]
    edges: dict[tuple[int, str, str], None] = {}
    for column, start, says, end, further in _steps(guideline, answer, words):
        columns[column].setdefault(start, says)
        if end:
            columns[column + 1].setdefault(end, further)
            edges[column, start, end] = None
    placed: dict[tuple[int, str], Box] = {}
    deepest = _HEAD
    for column, named in enumerate(columns):
        y = _HEAD
        for name, says in named.items():
            lines = wrap(says, _LETTERS, max_lines=_LINES, placeholder=" \u2026") or [says]
            height = len(lines) * _LINE + 2 * _PADDING
            placed[column, name] = Box(column * (_WIDTH + _GAP), y, height, tuple(lines), says, COLUMNS[column].lower())
            y += height + _BETWEEN
        deepest = max(deepest, y)
    paths = [_curve(placed[column, start], placed[column + 1, end]) for column, start, end in edges]
    width = len(COLUMNS) * _WIDTH + (len(COLUMNS) - 1) * _GAP
    return Picture(width, deepest, tuple(placed.values()), tuple(paths))


def _steps(guideline: Guideline, answer: Answer, words: Words) -> Iterator[tuple[int, str, str, str, str]]:
    """Each line: its column, what it begins at and ends at, each with its words; without an end, a box alone."""
    for finding in answer.rules:
        if finding.state not in ("applies", "overridden"):
            continue
        rule = finding.rule
        said = f"{rule.label} ({rule.modality if finding.state == 'applies' else finding.state})"
        yield 1, rule.name, said, "", ""
        for fact in finding.because:
            says = words.fact(fact)
            yield 0, says, says, rule.name, said
        for name in finding.passages:
            passage = guideline.passages[name]
            line = f"line {passage.line}: {passage.paraphrase}"
            yield 1, rule.name, said, name, line
            for citation in passage.citations:
                marker = f"[{citation.marker}] {citation.resolution}"
                yield 2, name, line, marker, marker
                if citation.reference is not None:
                    reference = guideline.references[citation.reference]
                    yield 3, marker, marker, reference.id, f"{reference.label}: {reference.title}"


def _curve(start: Box, end: Box) -> str:
    x, y = start.x + _WIDTH, start.y + start.height // 2
    to_x, to_y = end.x, end.y + end.height // 2
    middle = (x + to_x) // 2
    return f"M{x} {y}C{middle} {y} {middle} {to_y} {to_x} {to_y}"
