"""Settling over fillings, against a second, slower way to say the same."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from b12kg.expression import Class
from b12kg.outcome import Ending, Filling, Status, decisive, overriders_of, settle, state_of

FEATURES = ("A", "B", "C")


def ending(status: Status, offer: str = "", alternatives: tuple[str, ...] = (), **rules: frozenset[str]) -> Ending:
    recommended = (offer,) if status in ("recommended", "choice") else ()
    conflicting = (offer, "other") if status == "conflict" else ()
    return Ending(status, recommended, conflicting, alternatives, frozenset(rules), rules, False)


def filling(values: Sequence[str]) -> Filling:
    return Filling("D", dict(zip(FEATURES, values, strict=False)), Class("p"))


X, Y = ending("recommended", "x"), ending("recommended", "y")


def test_one_ending_is_settled() -> None:
    outcome = settle([(filling(["1"]), X), (filling(["0"]), X)])
    assert (outcome.status, outcome.recommended, outcome.missing, outcome.possible) == ("recommended", ("x",), (), ())


def test_alternatives_of_some_fillings_are_possible_and_unsettle_nothing() -> None:
    both = [
        (filling(["1"]), ending("recommended", "x", ("a", "b"))),
        (filling(["0"]), ending("recommended", "x", ("a",))),
    ]
    outcome = settle(both)
    assert (outcome.status, outcome.alternatives, outcome.possible_alternatives) == ("recommended", ("a",), ("b",))


def test_different_endings_are_undetermined_and_name_the_decisive_fact() -> None:
    cases = [(filling(v), X if v[0] == "1" else Y) for v in itertools.product("01", repeat=3)]
    outcome = settle(cases)
    assert outcome.status == "undetermined"
    assert outcome.missing == ("A",)
    assert [p.recommended for p in outcome.possible] == [("x",), ("y",)]


def test_where_no_single_fact_separates_the_smallest_sets_are_taken_together() -> None:
    # Only the fillings 000 and 011 are possible: they differ in B and C at once.
    assert decisive([(filling("000"), X), (filling("011"), Y)], lambda e: e.key) == ("B", "C")


def test_the_most_decisive_comes_first() -> None:
    # Knowing B leaves two answers at most; knowing A can leave three.
    endings = {"00": X, "01": Y, "02": ending("conflict", "z"), "10": X, "11": Y, "12": X}
    found = decisive([(filling(v), e) for v, e in endings.items()], lambda e: e.key)
    assert found == ("B", "A")


def test_nothing_possible_is_an_error() -> None:
    with pytest.raises(ValueError, match="at least one filling"):
        settle([])


def test_states_of_a_rule() -> None:
    applies, over = ending("recommended", "x", r=frozenset()), ending("recommended", "x", r=frozenset({"s"}))
    applies = dataclasses.replace(applies, overridden={})
    none = ending("not-applicable")
    one, two = filling("0"), filling("1")
    assert state_of("r", [(one, applies), (two, applies)]) == "applies"
    assert state_of("r", [(one, over), (two, over)]) == "overridden"
    assert state_of("r", [(one, applies), (two, over)]) == "applies"
    assert state_of("r", [(one, none), (two, over)]) == "overridden"
    assert state_of("r", [(one, none), (two, applies)]) == "unknown"
    assert state_of("r", [(one, none)]) == "excluded"
    assert overriders_of("r", [(one, applies), (two, over)]) == (frozenset(), frozenset({"s"}))
    assert overriders_of("r", [(one, over), (two, over)]) == (frozenset({"s"}), frozenset())
    assert overriders_of("r", [(one, none), (two, over)]) == (frozenset({"s"}), frozenset())


@given(
    st.dictionaries(
        st.tuples(*[st.sampled_from("01")] * 3),
        st.sampled_from([X, Y, ending("conflict", "z"), ending("not-applicable")]),
        min_size=1,
    )
)
def test_decisive_facts_by_the_words_of_the_definition(table: dict[tuple[str, ...], Ending]) -> None:
    endings = [(filling(values), found) for values, found in table.items()]
    found = decisive(endings, lambda e: e.key)
    different = [
        {f for f in FEATURES if a.values[f] != b.values[f]}
        for (a, x), (b, y) in itertools.combinations(endings, 2)
        if x.key != y.key
    ]
    single = {f for apart in different if len(apart) == 1 for f in apart}
    if single:
        assert set(found) == single
    elif different:
        size = min(map(len, different))
        assert set(found) == set().union(*(apart for apart in different if len(apart) == size))
    else:
        assert found == ()
        assert settle(endings).status != "undetermined"
    left = {
        f: max(len({e.key for fl, e in endings if fl.values[f] == v}) for v in {fl.values[f] for fl, _ in endings})
        for f in found
    }
    assert list(found) == sorted(found, key=lambda f: (left[f], f))
