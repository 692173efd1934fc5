"""The interview: asks for the facts that can still change an answer, and for no others.

Owns the order of the questions and the reading of what is typed. Which facts matter is in the answer.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from b12kg.errors import InvalidRecord
from b12kg.guideline import JURISDICTION, Guideline
from b12kg.recommend import ExecutableGuideline
from b12kg.recommendation import Recommendation

_YES, _NO, _UNKNOWN, _STOP = {"yes", "y"}, {"no", "n"}, {"unknown", "u", "?"}, {"stop", "quit", "q"}
_VALUE = re.compile(r"(<=|>=|<|>)?\s*([+-]?\d{1,15}(?:\.\d{1,15})?)(?![\d.])\s*(\S.*)?\Z", re.ASCII)


class Stopped(Exception):
    """Whoever is asked wants no more questions."""


def interview(
    guideline: ExecutableGuideline, first: Recommendation, ask: Callable[[str], str], say: Callable[[str], None]
) -> Recommendation:
    """Ask until nothing that is still unknown can change an answer, and give the last answer.

    Args:
        first: the answer to the record as it is.
        ask: shows a question and gives what is typed; EOFError where nothing more comes.
        say: shows a line.
    """
    answer, left_open = first, set[str]()
    while open_ := [name for name in answer.questions() if name not in left_open]:
        settled = sum(found.status != "undetermined" for found in answer.decisions.values())
        say(f"{settled} of {len(answer.decisions)} decisions settled; facts that can change an answer: {len(open_)}")
        feature = open_[0]
        try:
            after = _learn(guideline, answer, feature, ask, say)
        except (Stopped, EOFError, KeyboardInterrupt):
            say("")
            return answer
        if after is None:
            left_open.add(feature)
        else:
            for line in _settling(answer, after):
                say(line)
            answer = after
    say(f"Nothing {'else ' if left_open else ''}that is still unknown can change an answer.")
    return answer


def _learn(
    guideline: ExecutableGuideline,
    answer: Recommendation,
    feature: str,
    ask: Callable[[str], str],
    say: Callable[[str], None],
) -> Recommendation | None:
    """The answer once the feature is known; None where it stays unknown. Asks again until it is understood.

    Raises:
        Stopped, EOFError: no more questions are wanted.
    """
    content = guideline.content
    while True:
        typed = ask(_question(content, feature)).strip()
        if typed.lower() in _STOP:
            raise Stopped
        if typed.lower() in _UNKNOWN:
            return None
        record: Any = answer.record.to_dict()
        misunderstood = _state(content, record, feature, typed)
        if misunderstood is None:
            try:
                return guideline.recommend(record)
            except InvalidRecord as error:  # what was typed cannot be: it is said, and asked again
                misunderstood = "; ".join(map(str, error.problems))
        say(f"  {misunderstood}")


def _question(content: Guideline, feature: str) -> str:
    if feature in content.concepts:
        concept = content.concepts[feature]
        return f"{concept.label}? {concept.definition} [yes, no, unknown] "
    if feature in content.quantities:
        quantity = content.quantities[feature]
        return (
            f"{quantity.label}? {quantity.definition} [a value with its unit ({', '.join(quantity.factors)}), unknown] "
        )
    return f"{feature}? [a country code, such as {', '.join(content.codes_of_jurisdiction())}; unknown] "


def _state(content: Guideline, record: Any, feature: str, typed: str) -> str | None:
    """Put what was typed into the record; what is wrong with it, where it is not understood."""
    if feature == JURISDICTION:
        record[JURISDICTION] = typed.upper()
    elif feature in content.quantities:
        found = _VALUE.match(typed)
        if found is None or found[3] is None:
            units = ", ".join(content.quantities[feature].factors)
            return f"{typed[:60]!r} is no value with a unit; units: {units}; or type unknown, or stop"
        number = float(found[2]) if "." in found[2] else int(found[2])
        entry = {"of": feature, "value": number, "unit": found[3]}
        record["measurements"].append(entry if found[1] is None else {**entry, "comparator": found[1]})
    elif typed.lower() in _YES | _NO:
        record["present" if typed.lower() in _YES else "absent"].append(feature)
    else:
        return f"{typed[:60]!r} is not understood; type yes, no, unknown, or stop"
    return None


def _settling(before: Recommendation, after: Recommendation) -> Iterator[str]:
    """What the fact changed: the decisions that it settled."""
    content = after.guideline
    for name, found in after.decisions.items():
        if found.outcome.key != before.decisions[name].outcome.key:
            offers = [content.offers[o].label for o in (*found.recommended, *found.outcome.conflicting)]
            yield f"  {content.decisions[name].label}: {found.status}{': ' if offers else ''}{'; '.join(offers)}"
