"""The command line: ``b12kg recommend``, ``explain``, ``ask``, ``validate``, ``verify``, ``query`` and the others.

Owns arguments, exit codes and what goes to standard output and standard error. Every answer is
made elsewhere.

Exit codes: 0 answered, 1 findings, 2 usage, 3 invalid record, 4 invalid guideline.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import sys
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from b12kg import __version__
from b12kg.cli import cohort as cohorts
from b12kg.cli import exchange, serve, trust
from b12kg.cli.files import (
    ANSWERED,
    FINDINGS,
    INPUTS,
    INVALID_GUIDELINE,
    INVALID_RECORD,
    USAGE,
    once,
    print_problems,
    progress,
    read,
    terminal,
)
from b12kg.errors import B12kgError, InvalidGuideline, InvalidRecord, UsageError
from b12kg.records import SUFFIXES

if TYPE_CHECKING:
    from rdflib import Graph

    from b12kg.recommend import ExecutableGuideline
    from b12kg.recommendation import Recommendation


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    >>> main(["queries", "--group", "decide"])  # doctest: +ELLIPSIS
    applying-rules ...
    0
    """
    arguments = _parser().parse_args(argv)
    warnings.showwarning = lambda message, *_: print(f"b12kg: {message}", file=sys.stderr)
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A terminal that cannot show a character shows its escape.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        code: int = arguments.run(arguments)
    except InvalidRecord as error:
        print_problems(error.problems)
        return INVALID_RECORD
    except InvalidGuideline as error:
        print_problems(error.problems)
        return INVALID_GUIDELINE
    except B12kgError as error:
        print(f"b12kg: {error}", file=sys.stderr)
        return USAGE
    except BrokenPipeError:
        # The reader of our output has gone, as `head` does; what it read is right.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ANSWERED
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="b12kg",
        description="An executable guideline: what its source gives for a patient, with the passages behind it.",
        epilog="Exit codes: 0 answered, 1 findings, 2 usage, 3 invalid record, 4 invalid guideline.",
    )
    parser.add_argument("--version", action="version", version=f"b12kg {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    def command(run: Callable[[argparse.Namespace], int], name: str, summary: str) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=summary, description=summary)
        made.set_defaults(run=run)
        return made

    def guideline(of: argparse.ArgumentParser) -> None:
        of.add_argument("--guideline", metavar="NAME|FOLDER", help="a shipped guideline, or a folder of Turtle")

    def records(of: argparse.ArgumentParser) -> None:
        of.add_argument(
            "files", nargs="+", metavar="FILE", help=f"records: {_SUFFIXES}, or FHIR R4 as JSON; - is standard input"
        )
        of.add_argument("--input", choices=INPUTS, help="format of the records (default: by suffix, JSON for -)")
        of.add_argument("--as-of", type=_date, metavar="DATE", help="for records without asOf (default: today)")
        guideline(of)

    def one_record(of: argparse.ArgumentParser) -> None:
        of.add_argument("file", metavar="FILE", help=f"a record: {_SUFFIXES}, or FHIR R4 as JSON")
        of.add_argument("--input", choices=INPUTS, help="format of the record (default: by suffix, JSON for -)")
        of.add_argument("--as-of", type=_date, metavar="DATE", help="for a record without asOf (default: today)")
        guideline(of)

    def engine(of: argparse.ArgumentParser) -> None:
        of.add_argument(
            "--engine",
            choices=["table", "reference"],
            default="table",
            help="table looks it up (default); reference works it out by pySHACL, HermiT and SPARQL",
        )

    recommend = command(_recommend, "recommend", "Answer every decision of the guideline for each record.")
    records(recommend)
    engine(recommend)
    recommend.add_argument("--format", choices=_FORMATS, default="text", help="form of the answer (default: text)")
    recommend.add_argument("--each", action="store_true", help="answer every patient of a FHIR input by themselves")
    recommend.add_argument("--record-to", metavar="FOLDER", help="keep a log of what was answered: digests and times")
    recommend.add_argument("--with-record", action="store_true", help="keep the records in that log as well")

    validate = command(_validate, "validate", "Say what is wrong with each record, or odd about it.")
    records(validate)
    engine(validate)
    validate.add_argument("--format", choices=["text", "json"], default="text", help="form of the findings")

    explain = command(_explain, "explain", "Say why, why no other offer, and what would change it.")
    one_record(explain)
    explain.add_argument("--decision", action="append", default=[], metavar="D", help="only this one (repeatable)")
    explain.add_argument("--offer", metavar="O", help="why not this offer, and no other")
    explain.add_argument("--what-if", action="store_true", help="also the smallest changes that lead elsewhere")
    explain.add_argument(
        "--immutable", action="store_true", help="what if, also by changing what nobody can change, as a past operation"
    )
    explain.add_argument("--format", choices=["text", "json", "turtle"], default="text", help="form of the explanation")

    ask = command(_ask, "ask", "Ask for what can still change an answer, and show the answer settling.")
    one_record(ask)
    ask.add_argument("--save", metavar="FILE", help="write the record to this new file (or to FILE itself) at the end")

    build = command(_build, "build", "Work out the tables of a guideline, and say where they are kept.")
    build.add_argument("-o", "--output", metavar="FOLDER", help="where to (default: the user's cache folder)")
    guideline(build)

    verify = command(_verify, "verify", "Prove what holds for every patient, and show whom it does not hold for.")
    verify.add_argument("--format", choices=["text", "json", "turtle"], default="text", help="form of the findings")
    guideline(verify)

    query = command(_query, "query", "Ask a shipped SPARQL query, or one in a file, of the guideline.")
    query.add_argument("query", metavar="NAME|FILE.rq", help="`b12kg queries` lists the names")
    query.add_argument(
        "--record", action="append", default=[], metavar="FILE", help="ask it of the answer to this record (repeatable)"
    )
    query.add_argument(
        "--data", action="append", default=[], metavar="FILE", help="ask it of this Turtle as well (repeatable)"
    )
    query.add_argument(
        "--set", action="append", default=[], metavar="NAME=IRI", help="value of a parameter of the query"
    )
    query.add_argument("--format", choices=["table", "csv", "tsv", "json", "xml", "turtle"], help="form of the answer")
    query.add_argument("--as-of", type=_date, metavar="DATE", help="for a record without asOf (default: today)")
    guideline(query)

    queries = command(_queries, "queries", "List the shipped queries with the question that each answers.")
    queries.add_argument("--group", choices=["audit", "competency", "decide", "prov"], help="only those of one group")

    schema = command(_schema, "schema", "Print the JSON Schema of a record, or its JSON-LD context.")
    schema.add_argument("--context", action="store_true", help="the JSON-LD context")
    schema.add_argument("--cohort", action="store_true", help="the columns of a frame, with types and units")
    guideline(schema)

    audit = command(trust.audit, "audit", "Run every check of the guideline, against its document if that is given.")
    audit.add_argument("--source", metavar="FILE", help="the document that the guideline was read from")
    audit.add_argument("--cases", metavar="FILE", help="test patients: records as JSON, one a line or in a list")
    audit.add_argument("--all", action="store_true", help="in the text form, each expected finding as well")
    audit.add_argument(
        "--format", choices=["text", "json", "csv", "html", "turtle"], default="text", help="form of the findings"
    )
    guideline(audit)
    parts = audit.add_subparsers(title="more", metavar="log FOLDER")
    summary = "Say whether the log of runs in a folder is as it was written, and answered in the same way again."
    log = parts.add_parser("log", help=summary, description=summary)
    log.set_defaults(run=trust.log)
    log.add_argument("folder", metavar="FOLDER", help="what was given to `b12kg recommend --record-to`")
    log.add_argument("--head", metavar="HASH", help="the hash of an entry that has to be in it")
    log.add_argument("--format", choices=["text", "json"], default="text", help="form of the findings")
    guideline(log)

    evidence = command(
        trust.evidence, "evidence", "Write the evidence for an answer into one signed file, or verify such a file."
    )
    evidence.usage = "b12kg evidence FILE -o PACK [options] | b12kg evidence verify PACK [options]"
    evidence.add_argument("what", nargs="+", metavar="FILE | verify PACK", help="a record, or `verify` and a pack")
    evidence.add_argument("-o", "--output", metavar="PACK", help="the file to write")
    evidence.add_argument("--signer", metavar="FINGERPRINT", help="verify: the key that has to have signed it")
    evidence.add_argument("--format", choices=["text", "json"], default="text", help="verify: form of the findings")
    evidence.add_argument("--input", choices=INPUTS, help="format of the record (default: by suffix, JSON for -)")
    evidence.add_argument("--as-of", type=_date, metavar="DATE", help="for a record without asOf (default: today)")
    engine(evidence)
    guideline(evidence)

    diff = command(trust.diff, "diff", "Say what a new version of a guideline changes, and for which patients.")
    diff.add_argument("old", metavar="OLD", help="a folder of Turtle, a shipped guideline, a version or a git revision")
    diff.add_argument("new", metavar="NEW", help="the same")
    diff.add_argument("--cohort", metavar="FILE", help="records as JSON, one a line or in a list: how many change")
    diff.add_argument("--as-of", type=_date, metavar="DATE", help="for records without asOf (default: today)")
    diff.add_argument("--format", choices=["text", "json", "turtle"], default="text", help="form of the changes")
    diff.add_argument("--guideline", metavar="NAME", help="which guideline of a revision that has several")

    import_ = command(exchange.import_, "import", "Read FHIR R4 into a record, and say what became of each resource.")
    import_.add_argument(
        "file", metavar="FILE", help="a Bundle, a resource, or resources one a line; - is standard input"
    )
    import_.add_argument("--as-of", type=_date, metavar="DATE", help="the date of the record (default: today)")
    import_.add_argument("--each", action="store_true", help="every patient of the input by themselves")
    import_.add_argument("--all", action="store_true", help="in the text form, each ignored resource as well")
    import_.add_argument("--format", choices=["text", "json"], default="text", help="json: the record and the report")
    import_.add_argument("-o", "--output", metavar="FILE", help="write the record, as JSON, to this file")
    guideline(import_)

    export = command(exchange.export, "export", "Write the guideline in a form that others read.")
    export.add_argument(
        "--format",
        choices=["owl", "fhir", "views"],
        default="owl",
        help="owl: RDF/XML and Turtle, OWL 2 DL (default); fhir: a Bundle of R4 definitions; views: SQL on FHIR",
    )
    export.add_argument("-o", "--output", default=".", metavar="FOLDER", help="where to (default: here)")
    guideline(export)

    cohort = command(cohorts.cohort, "cohort", "Answer every row of files: one code a decision, part by part.")
    cohort.add_argument(
        "input", metavar="IN", help="a .parquet, .csv or .ndjson file, a folder of one kind, or a FHIR bulk export"
    )
    cohort.add_argument("-o", "--output", required=True, metavar="OUT", help="a new folder, or that of a killed run")
    cohort.add_argument("--key", metavar="COLUMN", help="what names a row (default: its number, from 0)")
    cohort.add_argument(
        "--backend", choices=["polars", "duckdb", "spark"], default="polars", help="what works it out (default: polars)"
    )
    cohort.add_argument("--explain", action="store_true", help="write what the codes stand for as well")
    cohort.add_argument("--summary", action="store_true", help="print and write (summary.html) what it comes to")
    cohort.add_argument("--rows", type=int, default=2_000_000, metavar="N", help="rows of a part (default: 2,000,000)")
    cohort.add_argument("--as-of", type=_date, metavar="DATE", help="for records without asOf (default: today)")
    guideline(cohort)

    schedule = command(exchange.schedule, "schedule", "Write what is recommended as a plan with dates.")
    one_record(schedule)
    schedule.add_argument("--start", type=_date, metavar="DATE", required=True, help="the first day of treatment")
    schedule.add_argument("--until", type=_date, metavar="DATE", help="list up to here (default: a year)")
    schedule.add_argument("--format", choices=["text", "ics"], default="text", help="ics: iCalendar, all-day events")
    schedule.add_argument("--previous", metavar="FILE", help="ics: the calendar written before, which this one changes")
    schedule.add_argument("-o", "--output", metavar="FILE", help="write to this file")

    serving = command(serve.serve, "serve", "Answer over HTTP: pages, an API, the terms, CDS Hooks and SPARQL.")
    serve.add_arguments(serving)
    guideline(serving)
    return parser


_FORMATS = ["text", "json", "turtle", "trig", "jsonld", "fhir"]
_SUFFIXES = ", ".join(SUFFIXES)


def _date(text: str) -> date:
    try:
        found = date.fromisoformat(text)
    except ValueError:
        found = None
    if found is None or found.isoformat() != text:
        raise argparse.ArgumentTypeError(f"{text!r} is no date; write YYYY-MM-DD")
    return found


# ---- commands ----------------------------------------------------------------------------------


def _recommend(arguments: argparse.Namespace) -> int:
    from b12kg.recommend import load

    with progress("reading the guideline; after a change of it, its tables are worked out"):
        guideline = load(arguments.guideline)
    code = ANSWERED
    many = len(arguments.files) > 1 or arguments.each
    once(arguments.files)
    if arguments.record_to == "":
        raise UsageError("--record-to names no folder")
    if arguments.with_record and arguments.record_to is None:
        raise UsageError("--with-record says what to keep in a log; name its folder with --record-to")
    first = True
    for name in arguments.files:
        try:
            with progress("working it out"):
                data, format_ = read(name, arguments.input)
                answers = _answers(guideline, data, format_, arguments)
        except InvalidRecord as error:
            print_problems(error.problems, name)
            code = INVALID_RECORD
            continue
        except UsageError as error:
            print(f"b12kg: {error}", file=sys.stderr)
            code = max(code, USAGE)
            continue
        for patient, answer in answers.items():
            title = f"{name}, {patient}" if arguments.each else name
            if isinstance(answer, InvalidRecord):
                print_problems(answer.problems, title)
                code = INVALID_RECORD
                continue
            if arguments.record_to is not None:
                from b12kg.runlog import append

                append(Path(arguments.record_to), answer, at=datetime.now(UTC), with_record=arguments.with_record)
            if arguments.format == "text" and many:
                print(f"{'' if first else chr(10)}===== {title} =====\n")
            _write(answer, arguments.format, None if many else 2, others=not arguments.each)
            first = False
        common = [len(a.imported.others) for a in answers.values() if not isinstance(a, InvalidRecord) and a.imported]
        if arguments.each and any(common):
            print(
                f"b12kg: {name}: {common[0]} resources are about no patient who is read, or stand there again;"
                " `b12kg import --each` lists them",
                file=sys.stderr,
            )
    return code


def _answers(
    guideline: ExecutableGuideline, data: bytes, format_: str, arguments: argparse.Namespace
) -> Mapping[str, Recommendation | InvalidRecord]:
    """The answer to the one patient of an input, or to each."""
    as_of, engine = arguments.as_of or date.today(), arguments.engine
    if not arguments.each:
        return {"": guideline.recommend(data, format=format_, as_of=as_of, engine=engine)}
    if format_ not in ("json", "fhir"):
        raise UsageError(f"--each is for FHIR, and the format of the input is {format_}")
    return guideline.recommend_each(data, as_of=as_of, engine=engine)


def _write(answer: Recommendation, format_: str, indent: int | None, *, others: bool) -> None:
    """The answer in a format, with what became of each resource where that format has a place for it."""
    if format_ == "text":
        shown = terminal()
        sys.stdout.write(answer.to_text(**shown))
        if answer.imported is not None:
            print("\n" + "\n".join(exchange.left_out(answer.imported, others, shown["width"])))
        return
    if format_ == "json":
        imported = {} if answer.imported is None else {"import": answer.imported.to_dict(others=others)}
        print(json.dumps(answer.to_dict() | imported, ensure_ascii=False, indent=indent))
        return
    if format_ == "fhir":
        print(json.dumps(answer.to_fhir(), ensure_ascii=False, indent=indent))
    else:
        sys.stdout.write(answer.serialize(format_))
    if answer.imported is not None:
        print(f"b12kg: {exchange.summary(answer.imported, others)}", file=sys.stderr)


def _validate(arguments: argparse.Namespace) -> int:
    from b12kg.recommend import load

    guideline = load(arguments.guideline)
    code = ANSWERED
    once(arguments.files)
    for name in arguments.files:
        try:
            data, format_ = read(name, arguments.input)
        except UsageError as error:
            print(f"b12kg: {error}", file=sys.stderr)
            code = max(code, USAGE)
            continue
        as_of = arguments.as_of or date.today()
        problems = guideline.validate(data, format=format_, as_of=as_of, engine=arguments.engine)
        valid = not any(problem.severity == "error" for problem in problems)
        code = code if valid else INVALID_RECORD
        if arguments.format == "json":
            findings = [problem.to_dict() for problem in problems]
            print(json.dumps({"record": name, "valid": valid, "problems": findings}, ensure_ascii=False))
        else:
            print(f"{name}: {'valid' if valid else 'invalid'}")
            for problem in problems:
                print(f"  {problem.severity}: {problem}")
    return code


def _explain(arguments: argparse.Namespace) -> int:
    from b12kg.recommend import load

    data, format_ = read(arguments.file, arguments.input)
    answer = load(arguments.guideline).recommend(data, format=format_, as_of=arguments.as_of or date.today())
    what: dict[str, Any] = {
        "offer": arguments.offer,
        "with_what_if": arguments.what_if,
        "immutable": arguments.immutable,
    }
    if arguments.format == "json":
        from b12kg.recommendation.explanations import explained

        print(json.dumps(explained(answer, arguments.decision, **what), ensure_ascii=False, indent=2))
    elif arguments.format == "turtle":
        from b12kg.recommendation.prov import explained_graph, iri_of, write

        sys.stdout.write(write({iri_of(answer): explained_graph(answer, arguments.decision, **what)}, "turtle"))
    else:
        from b12kg.recommendation.text import explanation

        sys.stdout.write(explanation(answer, arguments.decision, **what, **terminal()))
    return ANSWERED


def _ask(arguments: argparse.Namespace) -> int:
    from b12kg.cli.ask import interview
    from b12kg.recommend import load

    save = Path(arguments.save) if arguments.save else None
    if arguments.file == "-":
        raise UsageError("- (standard input) is where the answers are typed; name a file")
    if save is not None and save.exists() and save.resolve() != Path(arguments.file).resolve():
        raise UsageError(f"{arguments.save} is there already; name a new file, or the record itself")
    if save is not None and not save.absolute().parent.is_dir():
        raise UsageError(f"{arguments.save}: there is no folder {str(save.parent)!r} to save the record in")
    guideline = load(arguments.guideline)
    data, format_ = read(arguments.file, arguments.input)
    first = guideline.recommend(data, format=format_, as_of=arguments.as_of or date.today())
    if save is not None and save.exists() and (first.imported is not None or format_ != "json"):
        raise UsageError(f"{arguments.save} is no record in JSON, which is what is saved; name a new file")
    answer = interview(guideline, first, _asked, print)
    sys.stdout.write("\n" + answer.to_text(**terminal()))
    if save is not None:
        text = json.dumps(answer.record.to_dict(), ensure_ascii=False, indent=2) + "\n"
        try:
            save.write_text(text, encoding="utf-8")
        except OSError as error:
            raise UsageError(f"{arguments.save}: {error.strerror}; the record is not saved") from error
        print(f"\nThe record is in {save}.")
    return ANSWERED


def _asked(question: str) -> str:
    typed = input(question)
    if not sys.stdin.isatty():
        print(typed)  # what comes from a file is not on the screen
    return typed


def _build(arguments: argparse.Namespace) -> int:
    from b12kg.compiled import cache_folder, compile_guideline, file_name, write
    from b12kg.resources import folder_of

    folder = folder_of(arguments.guideline)
    place = cache_folder() if arguments.output is None else Path(arguments.output)
    start = time.perf_counter()
    made = compile_guideline(folder)
    took = time.perf_counter() - start
    path = place / file_name(folder)
    try:
        write(made, path, folder)
    except OSError as error:
        raise UsageError(f"{place}: {error.strerror}; the tables are not kept") from error
    for name, table in made.tables.decisions.items():
        features = ", ".join(feature.name for feature in table.features) or "nothing"
        print(f"{name}: {len(table.codes)} rows by {features}; {len(table.entries)} different verdicts")
    rows = sum(len(table.codes) for table in made.tables.decisions.values())
    print(f"{rows} rows in all, in {took:.2f} s; {path.stat().st_size / 1000:.0f} kB in {path}")
    return ANSWERED


def _verify(arguments: argparse.Namespace) -> int:
    from b12kg.compiled import load_compiled
    from b12kg.verify import verify

    verification = verify(load_compiled(arguments.guideline))
    if arguments.format == "json":
        print(json.dumps(verification.to_dict(), ensure_ascii=False, indent=2))
    elif arguments.format == "turtle":
        from b12kg.recommendation.prov import write

        sys.stdout.write(write({verification.guideline.iri: verification.graph()}, "turtle"))
    else:
        from b12kg.cli.proof import lines

        print("\n".join(lines(verification)))
    return FINDINGS if verification.unexpected else ANSWERED


def _query(arguments: argparse.Namespace) -> int:
    from b12kg.cli.answers import write_answer
    from b12kg.queries import find_query, run, store_of
    from b12kg.recommend import load

    guideline = load(arguments.guideline)
    query = find_query(arguments.query)
    graphs = [guideline.content.graph()]
    for name in arguments.record:
        data, format_ = read(name, None)
        with progress("working out the record"):
            answer = guideline.recommend(data, format=format_, as_of=arguments.as_of or date.today())
        graphs.append(answer.graph())
    graphs += map(_turtle, arguments.data)
    values = dict(_assignment(text) for text in arguments.set)
    rows = write_answer(run(store_of(graphs), query, values), arguments.format, sys.stdout)
    return FINDINGS if query.kind == "violation" and rows else ANSWERED


def _turtle(name: str) -> Graph:
    from rdflib import Graph

    try:
        return Graph().parse(data=Path(name).read_bytes(), format="turtle")
    except OSError as error:
        raise UsageError(f"{name}: {error.strerror}") from error
    except Exception as error:  # rdflib raises many kinds; each is the same: it cannot be read
        raise UsageError(f"{name}: not Turtle: {error}") from error


def _assignment(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals and value):
        raise UsageError(f"--set {text!r}: write NAME=IRI")
    return name.lstrip("?"), value


def _queries(arguments: argparse.Namespace) -> int:
    from b12kg.queries import shipped

    found = shipped(arguments.group or "")
    width = max(map(len, found))
    for query in found.values():
        parameters = "".join(f" --set {name}=..." for name in query.params)
        print(f"{query.id.ljust(width)}  {query.question}{parameters}")
    return ANSWERED


def _schema(arguments: argparse.Namespace) -> int:
    from b12kg.records.schema import json_schema, jsonld_context
    from b12kg.turtle import load_guideline

    if arguments.cohort:
        return cohorts.schema(arguments)
    guideline = load_guideline(arguments.guideline)
    made = jsonld_context(guideline) if arguments.context else json_schema(guideline)
    print(json.dumps(made, ensure_ascii=False, indent=2))
    return ANSWERED
