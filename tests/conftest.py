"""What many tests share: the shipped guideline, and how each decision can end for anybody."""

from __future__ import annotations

import pytest

import b12kg
from b12kg.decide import decide
from b12kg.expression import DataHasValue, DataSomeValuesFrom, Leaf, ObjectSomeValuesFrom, ground
from b12kg.guideline import JURISDICTION, Guideline
from b12kg.outcome import Ending, Filling, fillings
from b12kg.recommend import ExecutableGuideline
from b12kg.record import within


@pytest.fixture(scope="session")
def executable() -> ExecutableGuideline:
    """The shipped guideline."""
    return b12kg.load()


@pytest.fixture(scope="session")
def guideline(executable: ExecutableGuideline) -> Guideline:
    """What the shipped guideline says."""
    return executable.content


def known_leaves(guideline: Guideline, filling: Filling) -> dict[Leaf, bool]:
    """Whether each leaf of the decision's phenotypes holds in a filling, without a reasoner."""
    known: dict[Leaf, bool] = {}
    for leaf in guideline.leaves_of(guideline.phenotypes_of(filling.decision)):
        match leaf:
            case ObjectSomeValuesFrom(concept):
                known[leaf] = filling.values[concept] == "present"
            case DataHasValue(_, value):
                known[leaf] = filling.values[JURISDICTION] == value
            case DataSomeValuesFrom(quantity, restrictions):
                label = filling.values[quantity]
                (bin_,) = (b for b in guideline.bins_of(quantity) if b.label == label)
                holds = within(bin_.restrictions, restrictions)
                assert holds is not None
                known[leaf] = holds
    return known


def possible(guideline: Guideline, filling: Filling) -> bool:
    """Whether the kind-of relations allow a filling: no kind present whose parent is absent."""
    return not any(
        value == "present" and filling.values.get(parent) == "absent"
        for feature, value in filling.values.items()
        if feature in guideline.concepts
        for parent in guideline.parents_of(feature)
    )


@pytest.fixture(scope="session")
def everyone(guideline: Guideline) -> list[tuple[Filling, Ending]]:
    """Every filling of every decision that a patient can be, with its ending, by Kleene truth and SPARQL."""
    asked = []
    for decision in guideline.decisions:
        for filling in fillings(guideline, decision):
            if possible(guideline, filling):
                known = known_leaves(guideline, filling)
                truths = {
                    name: ground(guideline.phenotypes[name].expression, known)[0]
                    for name in guideline.phenotypes_of(decision)
                }
                assert "unknown" not in truths.values()
                asked.append((filling, frozenset(name for name, truth in truths.items() if truth == "entailed")))
    return [(filling, ending) for (filling, _), ending in zip(asked, decide(guideline, asked), strict=True)]


@pytest.fixture(scope="session")
def endings_of_everyone(everyone: list[tuple[Filling, Ending]]) -> dict[str, set[str]]:
    """For each decision, the statuses with which it can end for somebody of whom everything is known."""
    found: dict[str, set[str]] = {}
    for filling, ending in everyone:
        found.setdefault(filling.decision, set()).add(ending.status)
    return found
