"""The process that answers SPARQL queries: it holds the graphs, can be killed at any moment, and reaches nothing else.

Owns what bounds it (its memory, its time, no further file or socket) and what becomes of one query. It is started and
asked by ``sparql.py``, by frames over pipes: eight bytes that say how long it is, then that many.
"""

from __future__ import annotations

import gc
import itertools
import json
import signal
import struct
import sys
from collections.abc import Iterable, Mapping
from typing import IO, TYPE_CHECKING, Any

from b12kg.errors import UsageError
from b12kg.iris import PREFIXES
from b12kg.queries import dataset_of
from b12kg.service.negotiation import chosen, names

if TYPE_CHECKING:
    import pyoxigraph as ox

# The forms of an answer with rows, of one with yes or no, and of one with triples.
SOLUTIONS = (
    "application/sparql-results+json",
    "application/sparql-results+xml",
    "text/csv",
    "text/tab-separated-values",
    "application/json",
    "application/xml",
)
BOOLEANS = tuple(media for media in SOLUTIONS if not media.startswith("text/"))
TRIPLES = ("text/turtle", "application/n-triples", "application/rdf+xml", "application/ld+json")
LONGEST = 64 * 1024  # characters of a query, which a parser in Python reads
LARGEST = 16 * 2**20  # bytes of an answer, which the service holds until the client has read it
_LENGTH = struct.Struct(">Q")
_GRACE = 2  # seconds after which the process ends itself, should nobody be there who ends it


def frame(content: bytes) -> bytes:
    """What is sent for some bytes."""
    return _LENGTH.pack(len(content)) + content


def read_frame(stream: IO[bytes]) -> bytes | None:
    """The bytes that were sent; None where the stream ends."""
    head = stream.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        return None
    (size,) = _LENGTH.unpack(head)
    content = stream.read(size)
    return content if len(content) == size else None


def main(memory: int) -> None:
    """Answer queries until the pipe ends.

    Args:
        memory: bytes that the process may have.
    """
    import resource  # which only POSIX has

    given, answers = sys.stdin.buffer, sys.stdout.buffer
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))
    graphs = read_frame(given)
    if graphs is None:
        return
    store = stored(graphs)
    _warm(store)
    # Whatever a query holds, no file is opened from here on, and no connection made.
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    while (asked := read_frame(given)) is not None:
        request = json.loads(asked)
        signal.setitimer(signal.ITIMER_REAL, request["seconds"] + _GRACE)
        record = request["record"]
        head, body = answer(store if record is None else stored(graphs + record.encode()), request)
        signal.setitimer(signal.ITIMER_REAL, 0)
        if record is not None:
            gc.collect()  # the parser's exceptions hold the frames that they passed, and those the record
        answers.write(frame(json.dumps(head).encode()) + frame(body))
        answers.flush()


def stored(quads: bytes) -> ox.Store:
    """Quads in a store, with their blank nodes by the names that they have; in the default graph all of their triples.

    pyoxigraph's own union of graphs gives a triple once for each graph that it is in.
    """
    import pyoxigraph as ox

    store = ox.Store()
    for quad in ox.parse(quads, format=ox.RdfFormat.N_QUADS):
        store.extend((quad, ox.Quad(quad.subject, quad.predicate, quad.object)))
    return store


def dataset(store: ox.Store, default: Iterable[str], named: Iterable[str]) -> ox.Store:
    """Some of a store's graphs: those that are merged to the default graph, and those that keep their names."""
    import pyoxigraph as ox

    made = ox.Store()
    for name in default:
        for quad in store.quads_for_pattern(None, None, None, ox.NamedNode(name)):
            made.add(ox.Quad(quad.subject, quad.predicate, quad.object))
    for name in named:
        made.extend(store.quads_for_pattern(None, None, None, ox.NamedNode(name)))
    return made


def _warm(store: ox.Store) -> None:
    """Load whatever is loaded at its first use, while files can be opened."""
    for text in (
        "SELECT * FROM <urn:a> { ?s ?p ?o } LIMIT 1",
        "ASK {}",
        "CONSTRUCT WHERE { ?s ?p ?o }",
        "CLEAR ALL",
        "?",
    ):
        for accept in (*SOLUTIONS, *TRIPLES):
            answer(store, {"query": text, "default": None, "named": None, "accept": accept, "rows": 1})


# ---- one query -----------------------------------------------------------------------------------


def answer(store: ox.Store, request: Mapping[str, Any]) -> tuple[dict[str, Any], bytes]:
    r"""What is answered to a query: a heading with its status, and the body.

    Args:
        request: ``query``, the graphs of the dataset as ``default`` and ``named`` (None where none are asked for),
            ``accept``, the media types that the client likes, and ``rows``, how many of them there may be.

    >>> store = stored(b'<urn:s> <urn:p> "o" <urn:g> .')
    >>> request = {"query": "SELECT ?o { ?s ?p ?o }", "default": None, "named": None, "accept": "text/csv", "rows": 9}
    >>> answer(store, request)[1]
    b'o\r\no\r\n'
    """
    import pyoxigraph as ox

    text = request["query"]
    if len(text) > LONGEST:
        return _refused(413, "The query is too long", f"at most {LONGEST} characters")
    try:
        stated = dataset_of(text, "query")
    except UsageError as error:
        return _refused(400, "The query is refused", str(error))
    asked = request["default"] is not None or request["named"] is not None
    default, named = (request["default"] or (), request["named"] or ()) if asked else stated or ((), ())
    held = sorted(graph.value for graph in store.named_graphs() if isinstance(graph, ox.NamedNode))
    if not {*default, *named} <= {*held}:
        return _refused(400, "No such graph is here, and none is fetched", f"there are {', '.join(held)}")
    if asked or stated is not None:
        store = dataset(store, default, named)
    graphs = [*store.named_graphs()]
    try:
        # Said once more, since a FROM that stands in the text is put aside by it.
        return _written(
            store.query(text, default_graph=[ox.DefaultGraph()], named_graphs=graphs),
            request["accept"],
            request["rows"],
        )
    except (SyntaxError, ValueError, RuntimeError, OSError):  # their words repeat the query
        return _refused(400, "The query cannot be evaluated", "it is SPARQL, and this engine does not take it")


def _refused(status: int, title: str, detail: str) -> tuple[dict[str, Any], bytes]:
    return {"status": status, "title": title, "detail": detail}, b""


def _written(found: Any, accept: str, rows: int) -> tuple[dict[str, Any], bytes]:
    """An answer in the form that the client likes, cut after so many rows, which its heading says."""
    import pyoxigraph as ox

    body: bytes | None
    forms: tuple[str, ...] = TRIPLES
    if not isinstance(found, ox.QueryTriples):
        forms = BOOLEANS if isinstance(found, ox.QueryBoolean) else SOLUTIONS
    media = chosen(accept, forms)
    if media is None:
        return _refused(406, "No such form of an answer", f"to this query there are {names(forms)}")
    if isinstance(found, ox.QueryBoolean):
        form = ox.QueryResultsFormat.from_media_type(media)
        body, count, truncated = found.serialize(format=form), 1, False
    elif isinstance(found, ox.QueryTriples):
        triples, truncated = _cut(found, rows)
        count = len(triples)
        body = ox.serialize(sorted(triples, key=str), format=ox.RdfFormat.from_media_type(media), prefixes=PREFIXES)
    else:
        solutions, truncated = _cut(found, rows)
        count = len(solutions)
        body = _table(found.variables, solutions).serialize(format=ox.QueryResultsFormat.from_media_type(media))
    assert body is not None  # noqa: S101 - None only where an output is given
    if len(body) > LARGEST:
        return _refused(503, "The answer is too large", f"at most {LARGEST} bytes")
    return {"status": 200, "media": media, "rows": count, "truncated": truncated}, body


def _cut(found: Iterable[Any], rows: int) -> tuple[list[Any], bool]:
    kept = [*itertools.islice(found, rows + 1)]
    return kept[:rows], len(kept) > rows


def _table(variables: Iterable[ox.Variable], solutions: Iterable[Any]) -> Any:
    """Solutions that were taken out of an answer, as one again: by way of TSV, where a line is a solution."""
    import pyoxigraph as ox

    lines = ["\t".join(map(str, variables))]
    lines += ["\t".join("" if term is None else str(term) for term in solution) for solution in solutions]
    return ox.parse_query_results("\n".join([*lines, ""]).encode(), format=ox.QueryResultsFormat.TSV)


if __name__ == "__main__":
    main(int(sys.argv[1]))
