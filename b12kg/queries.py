"""The shipped SPARQL queries, and the running of a query that only reads.

Owns the header comment of a ``.rq`` file (id, question, kind, params, columns) and the refusal of
queries that would reach beyond the graphs they are asked of. Answers come from pyoxigraph.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin

from b12kg.errors import UsageError
from b12kg.iris import PREFIXES
from b12kg.resources import QUERIES

if TYPE_CHECKING:
    from pyoxigraph import Store
    from rdflib import Graph

_HEADING = re.compile(r"^# (\w+):\s+(.*)$")
_VARIABLE = re.compile(r"\?(\w+)")
_LINE_END = re.compile(r"\r\n?")
# A character by its number; the last is one to the parser of rdflib only.
_ESCAPE = re.compile(r"\\(?:u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})|U[0-9A-Fa-f]{4})")
_FIRST_OF_TEXT = 0xA0  # no keyword, quote, bracket or end of a line has a number from here on


@dataclass(frozen=True, slots=True)
class Query:
    """A query and what its header says of it.

    Args:
        id: the name by which it is asked for; the file's name without number and suffix.
        question: what it answers, in words.
        kind: select, construct, or violation (any row is a defect).
        severity: of a violation, error or warning.
        params: variable -> what has to be given for it.
        columns: the variables of the answer, in order.
        text: the SPARQL.
        path: where it stands.
    """

    id: str
    question: str
    kind: str
    severity: str
    params: Mapping[str, str]
    columns: tuple[str, ...]
    text: str
    path: Path


def read_query(path: Path) -> Query:
    """The query in a file, with its header.

    Raises:
        UsageError: the file cannot be read.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: cannot be read: {error}") from error
    fields: dict[str, list[str]] = {}
    field = ""
    for line in text.splitlines():
        if not line.startswith("#"):
            break
        if heading := _HEADING.match(line):
            field = heading[1]
            fields[field] = [heading[2]]
        elif field:
            fields[field].append(line.lstrip("# "))

    def variables(name: str) -> dict[str, str]:
        lines = fields.get(name, [])
        return {found[1]: line[found.end() :].strip() for line in lines if (found := _VARIABLE.match(line))}

    return Query(
        id=" ".join(fields.get("id", [path.stem])),
        question=" ".join(fields.get("question", [""])),
        kind=" ".join(fields.get("kind", ["select"])).split(" ")[0],
        severity=" ".join(fields.get("severity", ["error"])),
        params=variables("params"),
        columns=tuple(variables("columns")),
        text=text,
        path=path,
    )


@cache
def shipped(folder: str = "") -> Mapping[str, Query]:
    """The shipped queries by id, in the order of their files; ``folder`` limits them to one group.

    >>> list(shipped("decide"))[0]
    'applying-rules'
    """
    return _in_order(QUERIES / folder)


def queries_in(folder: Path) -> Mapping[str, Query]:
    """The queries in a folder that may be somebody else's, by id, in the order of their files.

    Raises:
        UsageError: one cannot be read, or is something else than a query that only reads.
    """
    if folder.is_relative_to(QUERIES):
        return shipped(folder.relative_to(QUERIES).as_posix())
    found = _in_order(folder)
    for query in found.values():
        refuse_all_but_reading(query.text, query.path.name)
    return found


def _in_order(folder: Path) -> dict[str, Query]:
    return {query.id: query for query in map(read_query, sorted(folder.rglob("*.rq")))}


def find_query(name: str) -> Query:
    """A shipped query by its id, or the query in a file, which may only read.

    Raises:
        UsageError: neither is there, or the file holds something else than a query that only reads.
    """
    if name in shipped():
        return shipped()[name]
    if name.endswith(".rq"):
        query = read_query(Path(name))
        refuse_all_but_reading(query.text, name)
        return query
    from difflib import get_close_matches

    near = get_close_matches(name, shipped(), n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise UsageError(f"no query is called {name!r}; {hint}`b12kg queries` lists them, and a file ends in .rq")


# ---- running -----------------------------------------------------------------------------------


def store_of(graphs: Iterable[Graph]) -> Store:
    """The triples of some rdflib graphs in one pyoxigraph store, in its default graph.

    Blank nodes are kept apart by graph.
    """
    from pyoxigraph import RdfFormat, Store

    store = Store()
    for graph in graphs:
        triples = graph.serialize(format="nt", encoding="utf-8")
        store.load(triples, format=RdfFormat.N_TRIPLES)
    return store


def run(store: Store, query: Query, values: Mapping[str, str] | None = None) -> Any:
    """The answer of pyoxigraph to a query: solutions, triples, or a boolean.

    Args:
        values: for each of the query's parameters, an IRI in full or with a known prefix.

    Raises:
        UsageError: the query is not SPARQL, or a parameter is missing, unknown or no IRI.
    """
    from pyoxigraph import BlankNode, Literal, NamedNode, Triple, Variable

    given = dict(values or {})
    for name, meaning in query.params.items():
        if name not in given:
            raise UsageError(f"{query.id} needs a value for ?{name} ({meaning})")
    unknown = sorted(given.keys() - query.params.keys())
    if unknown and query.params:
        raise UsageError(
            f"{query.id} has no parameter ?{unknown[0]}; it has {', '.join('?' + p for p in query.params)}"
        )
    substitutions: dict[Variable, NamedNode | BlankNode | Literal | Triple] = {}
    try:
        substitutions |= {Variable(name): NamedNode(_expand(value)) for name, value in given.items()}
        return store.query(query.text, substitutions=substitutions)
    except (SyntaxError, ValueError, RuntimeError) as error:  # RuntimeError: a parameter that is not selected
        raise UsageError(f"{query.path.name}: {error}") from error


def _expand(value: str) -> str:
    prefix, colon, local = value.partition(":")
    if colon and prefix in PREFIXES and not local.startswith("//"):
        return PREFIXES[prefix] + local
    if "://" in value or value.startswith("urn:"):
        return value
    raise UsageError(f"{value!r} is no IRI; write it in full, or with one of the prefixes {', '.join(PREFIXES)}")


def refuse_all_but_reading(text: str, where: str) -> None:
    """Refuse what would reach beyond the graph: SERVICE, a dataset clause, an update.

    Raises:
        UsageError: it is refused, or it is not SPARQL.

    >>> refuse_all_but_reading("SELECT * { ?s ?p 'SERVICE' }", "x.rq")
    """
    if dataset_of(text, where) is not None:
        raise UsageError(f"{where}: FROM is refused: a query is asked of the guideline's own graph only")


def dataset_of(text: str, where: str) -> tuple[tuple[str, ...], tuple[str, ...]] | None:
    """The graphs that a query names by FROM and by FROM NAMED; None if it names none.

    What is refused is decided on the parse tree, so that a word in a string or a comment is nothing.

    Raises:
        UsageError: it is not SPARQL, an update, or asks another SERVICE. The words are ours and the grammar's, and
            repeat nothing of the query.
    """
    from pyparsing.exceptions import ParseBaseException

    try:
        return _stated(_as_answered(text, where), where)
    except ParseBaseException as error:
        place = f"{where}, line {error.lineno}, column {error.col}"
        raise UsageError(f"{place}: not a SPARQL query: {error.msg}") from error
    except RecursionError as error:
        raise UsageError(f"{where}: it is nested too deeply") from error
    except (TypeError, ValueError, ArithmeticError) as error:  # such as of a number with thousands of digits
        raise UsageError(f"{where}: not a SPARQL query that can be read") from error


def _as_answered(text: str, where: str) -> str:
    r"""A query as pyoxigraph reads it, in the words of rdflib's parser, so that what one sees the other does.

    To rdflib a carriage return ends no comment, and characters by their numbers stand before strings and comments are
    told apart; to pyoxigraph it does, and they do not.

    >>> _as_answered("ASK {} # \r # x", "x.rq")
    'ASK {} # \n # x'
    """

    def character(escape: re.Match[str]) -> str:
        number = int(escape[1] or escape[2] or "0", 16)
        if number < _FIRST_OF_TEXT or number > 0x10FFFF or 0xD800 <= number <= 0xDFFF:
            raise UsageError(f"{where}: a character by its number is refused here: write the character itself")
        return chr(number)

    return _ESCAPE.sub(character, _LINE_END.sub("\n", text))


def _stated(text: str, where: str) -> tuple[tuple[str, ...], tuple[str, ...]] | None:
    """The graphs that a query names, where it may be asked; errors of the grammar are left to be told."""
    from pyparsing.exceptions import ParseBaseException
    from rdflib.plugins.sparql.parser import parseQuery, parseUpdate
    from rdflib.plugins.sparql.parserutils import CompValue

    try:
        prologue, query = parseQuery(text)
    except ParseBaseException:
        try:
            is_update = bool(parseUpdate(text).request)
        except ParseBaseException:
            is_update = False
        if is_update:
            raise UsageError(f"{where}: an update is refused: nothing can be changed or loaded here") from None
        raise
    if "ServiceGraphPattern" in _names(query):
        raise UsageError(f"{where}: SERVICE is refused: a query is asked of the guideline's own graph only")
    clauses = query.datasetClause
    if not clauses:
        return None
    base = ""
    prefixes: dict[str, str] = {}
    for part in prologue:
        if part.name == "Base":
            base = urljoin(base, str(part.iri))
        else:
            prefixes[str(part.prefix or "")] = urljoin(base, str(part.iri))

    def iri(name: Any) -> str:
        if not isinstance(name, CompValue):
            return urljoin(base, str(name))
        if (name.prefix or "") not in prefixes:
            raise UsageError(f"{where}: FROM has a prefix that is not declared")
        return prefixes[name.prefix or ""] + str(name.localname or "")

    # Of the name ":", which has neither part, the tree holds something that is empty.
    named = tuple(iri(clause.named) for clause in clauses if clause.named is not None)
    return tuple(iri(clause.default) for clause in clauses if clause.default is not None), named


def _names(tree: Any) -> Iterator[str]:
    """The names of all parts of rdflib's parse tree."""
    from pyparsing import ParseResults
    from rdflib.plugins.sparql.parserutils import CompValue

    if isinstance(tree, CompValue):
        yield tree.name
        for part in tree.values():
            yield from _names(part)
    elif isinstance(tree, ParseResults | list | tuple):
        for part in tree:
            yield from _names(part)
