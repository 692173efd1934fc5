"""The mutants are there, what kills them is not blind, and a sample of them dies."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from rdflib import RDFS, Literal

from b12kg.turtle import load_guideline
from tests.mutants.__main__ import survivors_named
from tests.mutants.kill import Judge, judge
from tests.mutants.mutate import B12, OPERATORS, Change, Mutant, instances, mutants

SAMPLE = 20


@pytest.fixture(scope="module")
def shipped() -> Judge:
    """The shipped guideline with its mutants; that it is made shows that the unchanged guideline survives."""
    return judge()


def test_there_are_mutants_of_every_kind(shipped: Judge) -> None:
    kinds = Counter(mutant.kind for mutant in shipped.mutants.values())
    assert kinds.keys() == OPERATORS.keys()
    assert kinds.total() > 1500


def test_every_mutant_changes_the_graph_and_leaves_the_original_as_it_is(shipped: Judge) -> None:
    before = set(shipped.graph)
    checked = 0
    for mutant in random.Random(0).sample(sorted(shipped.mutants.values(), key=lambda m: m.id), SAMPLE):
        assert set(mutant.apply(shipped.graph)) != before, mutant.id
        checked += 1
    assert checked == SAMPLE
    assert set(shipped.graph) == before


def test_a_mutant_has_the_same_id_whatever_the_blank_nodes_are_called(shipped: Judge) -> None:
    read_again = load_guideline().graph()
    assert set(read_again) != set(shipped.graph)
    assert [mutant.id for mutant in mutants(read_again)] == list(shipped.mutants)


def test_a_change_of_nothing_survives(shipped: Judge) -> None:
    assert shipped.notice(Mutant("nothing", "nothing", Change("nowhere", "nothing")).apply(shipped.graph)) is None


def test_a_change_of_words_is_no_change_of_answers(shipped: Judge) -> None:
    decision = instances(shipped.graph, B12.Decision)[0]
    words = Change("a decision", "a remark added", added=((decision, RDFS.comment, Literal("A remark.")),))
    changed = Mutant("words", "words", words).apply(shipped.graph)
    assert len(changed) == len(shipped.graph) + 1
    assert shipped.notice(changed) is None


def test_each_way_to_notice_a_mutant_notices_one_that_the_ways_before_it_do_not(shipped: Judge) -> None:
    kills = {
        "loading": "component: number dropped: oral-1mg-daily.dose: low 1.0 dropped",
        "case": "override: dropped: initial-neuro-over-initial-severe: dropped",
        "finding": "decision: concerns: Assessment: concerns AnyPatient becomes PatientWithDeficiency",
        "check": "override: passage dropped: initial-neuro-over-initial-severe: wasDerivedFrom L25 dropped",
    }
    for by, id_ in kills.items():
        found = shipped.kill(id_)
        assert found is not None, id_
        assert (found.by, bool(found.words)) == (by, True), id_


def test_a_seeded_sample_of_mutants_is_killed(shipped: Judge) -> None:
    of_kind: dict[str, list[str]] = {}
    for id_, mutant in shipped.mutants.items():
        if id_ not in survivors_named():
            of_kind.setdefault(mutant.kind, []).append(id_)
    drawn = random.Random(2025)
    sample = [drawn.choice(of_kind[kind]) for kind in drawn.sample(sorted(of_kind), SAMPLE)]
    assert [id_ for id_ in sample if shipped.kill(id_) is None] == []


def test_survivors_that_are_excused_exist(shipped: Judge) -> None:
    assert survivors_named().keys() <= shipped.mutants.keys()
