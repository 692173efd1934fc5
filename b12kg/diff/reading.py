"""What two versions take a record for: which say what the other refuses, or reads otherwise.

Owns what cannot be seen in a table: names, units, bounds and shapes. It tells what may differ, and
errs on the side of saying so; how an outcome changes is for patients.py.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping

from b12kg.compiled import Compiled
from b12kg.expression import feature_of, leaves
from b12kg.guideline import JURISDICTION, Guideline
from b12kg.iris import name_of


def reading(old: Compiled, new: Compiled) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What records lose and gain by how they are read, in words; what may only be so counts as well."""
    took, takes = _taken(old.guideline), _taken(new.guideline)
    demanded, demands = _demanded(old, new.guideline), _demanded(new, old.guideline)

    def only(there: Mapping[Hashable, str], other: Mapping[Hashable, str], words: str) -> tuple[str, ...]:
        found = (f"{words}: {text}" for key, text in there.items() if key not in other)
        return tuple(dict.fromkeys(found))

    lost = only(took, takes, "read no longer, or otherwise") + only(demands, demanded, "refused, where it was not")
    gained = only(takes, took, "read now, or otherwise") + only(demanded, demands, "refused no longer")
    return lost, gained


def _taken(guideline: Guideline) -> dict[Hashable, str]:
    """Everything that a record may say, with what it is read as."""
    found: dict[Hashable, str] = {concept.iri: name for name, concept in guideline.concepts.items()}
    found |= {circumstance.iri: name for name, circumstance in guideline.circumstances.items()}
    for quantity in guideline.quantities.values():
        for unit, factor in quantity.factors.items():
            of = f"{quantity.name} in {unit}, which is {factor.normalize():f} {quantity.unit}"
            found[quantity.iri, unit, factor, quantity.unit] = of
    for treatment in guideline.treatments.values():
        for status, states in treatment.statuses.items():
            words = f"{states.concept} {'present' if states.present else 'absent'}"
            found[treatment.iri, status, states] = f"{treatment.name} {status}, which is {words}"
    return found


def _demanded(compiled: Compiled, other: Guideline) -> dict[Hashable, str]:
    """What a record is refused for that says only what the other version takes as well."""
    guideline = compiled.guideline
    found: dict[Hashable, str] = {}
    for kind in guideline.concepts.keys() & other.concepts.keys():
        shared = (parent for parent in guideline.parents_of(kind) if parent in other.concepts)
        found |= {(kind, parent): f"{kind} present, {parent} absent" for parent in shared}
    for quantity in guideline.quantities.keys() & other.quantities.keys():
        for bound in (bin_.restrictions[-1] for bin_ in guideline.bins_of(quantity)[:-1]):
            words = f"{quantity} is {bound.words(guideline.quantities[quantity].unit)}"
            found[quantity, bound] = f"a bound that leaves open whether {words}"
    for expression in guideline.impossible:
        features = {feature_of(leaf) for leaf in leaves(expression)}
        if all(name == JURISDICTION or name in other.concepts or name in other.quantities for name in features):
            found[expression] = f"what is declared disjoint by {', '.join(sorted(features))}"
    unshared = guideline.iris_of_names().items() - other.iris_of_names().items()
    for class_, shapes in compiled.shapes.items():
        for shape in shapes:
            if shape.severity == "error" and class_ not in {iri for _, iri in unshared}:
                words = f"{name_of(str(class_))}: {shape.message}"
                found[class_, shape.path, shape.min_count] = words
                found |= {(class_, shape.path, constraint): words for constraint in shape.constraints}
    return dict(sorted(found.items(), key=lambda item: item[1]))
