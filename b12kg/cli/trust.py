"""The commands by which somebody who does not trust us takes an answer or a guideline apart.

Owns ``audit``, ``audit log``, ``evidence``, ``evidence verify`` and ``diff``: what goes in, what is printed, and the
exit code. What is found is found elsewhere.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from b12kg.cli.files import ANSWERED, FINDINGS, progress, read
from b12kg.errors import InvalidRecord, Problem, UsageError

if TYPE_CHECKING:
    from b12kg.recommend import ExecutableGuideline
    from b12kg.recommendation import Recommendation


def audit(arguments: argparse.Namespace) -> int:
    """Every check of a guideline; findings are those that the guideline does not name as expected."""
    from b12kg import audit as checks
    from b12kg.cli import report
    from b12kg.recommend import load

    guideline = load(arguments.guideline)
    source = None if arguments.source is None else _bytes(arguments.source)
    cases = None if arguments.cases is None else _answers(guideline, Path(arguments.cases))
    with progress("checking (the reasoner starts once, in a few seconds)"):
        found = checks.audit(guideline, source=source, cases=cases)
    if arguments.format == "json":
        print(json.dumps(found.to_dict(), ensure_ascii=False, indent=2))
    elif arguments.format == "turtle":
        from b12kg.recommendation.prov import write

        sys.stdout.write(write({found.guideline.iri: found.graph()}, "turtle"))
    elif arguments.format == "csv":
        report.write_csv(found, sys.stdout)
    elif arguments.format == "html":
        print(report.page(found))
    else:
        print("\n".join(report.lines(found, every=arguments.all)))
    return FINDINGS if found.unexpected else ANSWERED


def _bytes(name: str) -> bytes:
    try:
        return Path(name).read_bytes()
    except OSError as error:
        raise UsageError(f"{name}: {error.strerror}") from error


def _answers(guideline: ExecutableGuideline, path: Path) -> Iterator[Recommendation]:
    """The answer to each record of a file.

    Raises:
        InvalidRecord: one is refused; its place is named.
    """
    from b12kg.diff import read_cohort

    for place, record in read_cohort(path):
        try:
            yield guideline.recommend(record)
        except InvalidRecord as error:
            raise InvalidRecord(
                [Problem(f"{path}, {place}: {p.path}", p.message, p.found, p.accepted) for p in error.problems]
            ) from error


def log(arguments: argparse.Namespace) -> int:
    """Whether the log of runs in a folder is as it was written, and is answered in the same way again."""
    from b12kg.recommend import load
    from b12kg.runlog import check

    guideline = load(arguments.guideline)
    with progress("reading the log"):
        found = check(Path(arguments.folder), guideline, head=arguments.head)
    if arguments.format == "json":
        print(json.dumps(found.to_dict(), ensure_ascii=False, indent=2))
    else:
        for problem in found.problems:
            print(f"{problem.severity}: {problem}")
        verdict = "the chain is whole" if found.ok else "NOT as they were written, or not as they are answered now"
        print(f"{found.entries} entries; {verdict}")
        print(f"asked again: {found.same} the same, {found.different} different")
        for reason, count in sorted(found.not_rerun.items()):
            print(f"not asked again: {count} ({reason})")
        print(f"head: {found.head or 'none'}")
    return ANSWERED if found.ok else FINDINGS


def evidence(arguments: argparse.Namespace) -> int:
    """Write the evidence for the answer to a record, or verify such a file."""
    from b12kg.evidence import write_pack
    from b12kg.nanopub import signing_key
    from b12kg.recommend import load

    verb, file = arguments.what if len(arguments.what) == 2 else ("", arguments.what[0])
    if len(arguments.what) > 2 or verb not in ("", "verify") or arguments.what == ["verify"]:
        raise UsageError("write `b12kg evidence FILE -o PACK` or `b12kg evidence verify PACK`")
    if verb:
        return _verify_pack(arguments, Path(file))
    if arguments.output is None:
        raise UsageError("name the file for the pack with -o")
    guideline = load(arguments.guideline)
    data, format_ = read(file, arguments.input)
    answer = guideline.recommend(
        data, format=format_, as_of=arguments.as_of or date.today(), engine=arguments.engine or "table"
    )
    key = signing_key()
    write_pack(guideline, answer, Path(arguments.output), at=datetime.now(UTC), key=key)
    print(f"{arguments.output}: the evidence for what {guideline.content.id} {guideline.content.version} gives.")
    print("It holds the record: keep it as you keep the record.")
    print(f"Signed by the key {key.fingerprint}; tell this to who has to verify it.")
    return ANSWERED


def _verify_pack(arguments: argparse.Namespace, path: Path) -> int:
    from b12kg.evidence import verify_pack
    from b12kg.recommend import load

    if arguments.output is not None:
        raise UsageError("-o is for writing a pack, not for verifying one")
    report = verify_pack(path, load(arguments.guideline), signer=arguments.signer)
    # What was signed is proven only where it was worked out again.
    code = ANSWERED if report.ok and report.rerun == "same" else FINDINGS
    if arguments.format == "json":
        print(json.dumps(report.to_dict(), ensure_ascii=False, indent=2))
        return code
    for problem in report.problems:
        print(f"error: {problem}")
    print(f"{path}: {'as it was signed' if report.ok else 'NOT as it was signed, or not what the guideline gives'}")
    words = {
        "same": "the same bytes",
        "different": "something else",
        "not-rerun": f"no: {report.reason}",
    }
    print(f"asked again: {words[report.rerun]}")
    if report.signer is not None:
        told = (
            " (the one that you named)" if arguments.signer == report.signer else "; is it the one that you were told?"
        )
        print(f"signed by: {report.signer}{told}")
    if report.uri is not None:
        print(f"nanopublication: {report.uri}")
    return code


def diff(arguments: argparse.Namespace) -> int:
    """What a new version of a guideline changes, and for whom."""
    from b12kg.compiled import load_compiled
    from b12kg.diff import compare, read_cohort
    from b12kg.versions import resolve

    with tempfile.TemporaryDirectory(prefix="b12kg-") as folder:
        compiled = []
        for place, where in (("old", arguments.old), ("new", arguments.new)):
            into = Path(folder) / place
            into.mkdir()
            with progress(f"reading {where}"):
                compiled.append(load_compiled(resolve(where, into, arguments.guideline)))
        old, new = compiled
        cohort = None if arguments.cohort is None else read_cohort(Path(arguments.cohort))
        with progress("comparing every patient"):
            found = compare(old, new, cohort, as_of=arguments.as_of or date.today())
        if arguments.format == "json":
            print(json.dumps(found.to_dict(), ensure_ascii=False, indent=2))
        elif arguments.format == "turtle":
            from b12kg.recommendation.prov import write

            sys.stdout.write(write({found.new.iri: found.graph()}, "turtle"))
        else:
            from b12kg.cli.changes import lines

            print("\n".join(lines(found)))
    return ANSWERED
