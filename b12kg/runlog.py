"""A log of recommendations, and of what became of cards, in a folder: lines of JSON, each naming the hash of the last.

Owns the file: how an entry is made, added whole or not at all, and found to be broken. Whoever can
write the file can make all of its hashes anew, or cut its end off; that shows only where the hash of
the last entry, the head, is kept elsewhere. Works nothing out: what is asked again goes to ``recommend``.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import stat
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from operator import itemgetter
from pathlib import Path
from typing import Any, BinaryIO, get_args

import rfc8785

from b12kg import __version__
from b12kg.errors import InvalidRecord, Problem, ReasonerError, Severity, UsageError
from b12kg.guideline import Guideline
from b12kg.recommend import Engine, ExecutableGuideline
from b12kg.recommendation import Recommendation
from b12kg.record import JsonValue

try:
    import fcntl
except ImportError:  # not a POSIX platform
    fcntl = None  # type: ignore[assignment]

FILE = "runs.jsonl"
FORMAT = 1
_LONGEST = 2**20  # bytes of a line; one with a record of some dozen entries has about two thousand
_LISTED = 100  # problems of a kind; the others are counted

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}\Z")
# What each key of an entry holds; `previous` is null in the first.
_COMMON: dict[str, Any] = {
    "format": int,
    "previous": str | None,
    "guideline": dict,
    "at": str,
    "b12kg": str,
    "hash": str,
}
_KEYS = _COMMON | {"outcomes": dict, **dict.fromkeys(("record", "engine", "asOf", "result"), str)}
# Of an entry on a card, which is known by its key `feedback`.
_FEEDBACK = _COMMON | {"feedback": dict}
_OPTIONAL = {"given": dict, "healed": int}


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry: ``form`` is its JSON object but for ``hash``, which is the digest of its RFC 8785 bytes."""

    form: Mapping[str, Any]
    hash: str

    def to_dict(self) -> dict[str, JsonValue]:
        """The entry as it stands in the log."""
        return {**self.form, "hash": self.hash}


@dataclass(frozen=True, slots=True)
class LogReport:
    """What is in a log.

    Args:
        entries: how many lines there are, a torn one at the end not among them.
        problems: what is wrong (errors) or odd (warnings), by line; at most 100 of each.
        same: entries whose record was asked again and has the same answer.
        different: entries whose record was asked again and has another answer; each is an error.
        not_rerun: how many entries were not asked again, by reason.
        head: the hash of the last entry that is as it was written; None if there is none.
    """

    entries: int
    problems: tuple[Problem, ...]
    same: int
    different: int
    not_rerun: Mapping[str, int]
    head: str | None

    @property
    def ok(self) -> bool:
        """Whether there is no error; a torn line at the end is none."""
        return not any(problem.severity == "error" for problem in self.problems)

    def to_dict(self) -> dict[str, JsonValue]:
        """The report with all of its parts."""
        return {
            "ok": self.ok,
            "entries": self.entries,
            "head": self.head,
            "rerun": {"same": self.same, "different": self.different, "not": dict(self.not_rerun)},
            "problems": [{**problem.to_dict()} for problem in self.problems],
        }


# ---- adding ------------------------------------------------------------------------------------


def append(folder: Path, recommendation: Recommendation, *, at: datetime, with_record: bool = False) -> Entry:
    """Add a recommendation to the log in a folder; when this returns, the entry is on the disk.

    Nothing that the record says is written, nor its identifier, but for its date ``asOf`` and digests. A
    digest is a pseudonym and no anonymity: it links the entries of one record, and whoever can guess a
    record, or what a decision rests on, can confirm the guess by it. The log is to be kept as the records are.

    Args:
        folder: made (mode 0700) if there is none; the log is ``runs.jsonl`` (mode 0600) in it.
        at: when the recommendation was made, with its time zone.
        with_record: keep the record too, so that :func:`check` can ask it again. Its entries stand in the order
            in which they were given, as an answer names them by their place.

    Returns:
        The entry. ``healed`` in it is the number of bytes of a torn line that were removed before it.

    Raises:
        UsageError: the log cannot be added to, or its last entry is not as it was written. The earlier
            entries are as they were.

    >>> import tempfile, b12kg
    >>> answer = b12kg.load().recommend({"id": "urn:example:p", "asOf": "2026-01-15"})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     entry = append(Path(folder), answer, at=datetime(2026, 1, 15, 9, 30, tzinfo=UTC))
    ...     check(Path(folder)).head == entry.hash
    True
    """
    return _append(folder, _form(recommendation, at, with_record=with_record))


def append_feedback(folder: Path, guideline: Guideline, feedback: Mapping[str, str], *, at: datetime) -> Entry:
    """Add what became of a card to the log in a folder; when this returns, the entry is on the disk.

    Args:
        guideline: by which the service that is told answers.
        feedback: the card's id, the outcome, and codes; whoever calls sees to it that nothing of a patient is in it.
        at: when it was told, with its time zone.

    Raises:
        UsageError: as of :func:`append`.
    """
    return _append(folder, _heading(guideline, at) | {"feedback": {**feedback}})


def _append(folder: Path, form: dict[str, JsonValue]) -> Entry:
    """Add an entry that says all but what it follows, at the end of the log."""
    path = folder / FILE
    with _opened(path, os.O_RDWR | os.O_APPEND | os.O_CREAT) as (log, size):
        last, torn = _end(log, size)
        if torn > _LONGEST:
            raise UsageError(f"{path}: its last {torn} bytes are no line of such a log; nothing is added to it")
        entry = None
        if last:
            try:
                entry = _read(last)
            except ValueError as error:
                raise UsageError(f"{path}: nothing is added after its last entry: {error}") from error
            if _digest(entry.form) != entry.hash:
                raise UsageError(f"{path}: nothing is added after its last entry, which was edited")
        form["previous"] = None if entry is None else entry.hash
        if torn:
            form["healed"] = torn
        added = Entry(form, _digest(form))
        line = rfc8785.dumps(added.to_dict()) + b"\n"
        if len(line) > _LONGEST:
            raise UsageError(f"{path}: an entry of {len(line)} bytes is too long; at most {_LONGEST}")
        if torn:  # nobody was told of that entry; should the next step fail, nothing says any more that it was begun
            os.ftruncate(log, size - torn)
        if not last:
            _sync(folder)
        _write(log, line, size - torn)
    return added


def _form(recommendation: Recommendation, at: datetime, *, with_record: bool) -> dict[str, JsonValue]:
    form = _heading(recommendation.guideline, at) | {
        "record": recommendation.record.digest,
        "engine": recommendation.engine,
        "asOf": recommendation.record.as_of.isoformat(),
        **_digests(recommendation.to_dict()),
    }
    if with_record:
        form["given"] = recommendation.record.as_given()
    return form


def _heading(guideline: Guideline, at: datetime) -> dict[str, JsonValue]:
    """What every entry says."""
    if at.tzinfo is None:
        raise UsageError(f"the time {at.isoformat()} has no time zone")
    return {
        "format": FORMAT,
        "at": at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z"),
        "guideline": {"id": guideline.id, "version": guideline.version, "digest": guideline.digest},
        "b12kg": __version__,
    }


def _digests(answer: Mapping[str, Any]) -> dict[str, Any]:
    """The digests of an answer in its JSON form: of each decision, and of the whole."""
    return {"outcomes": {name: _digest(part) for name, part in answer["decisions"].items()}, "result": _digest(answer)}


def _digest(value: Any) -> str:
    return "sha256:" + hashlib.sha256(rfc8785.dumps(value)).hexdigest()


# ---- the file ----------------------------------------------------------------------------------


@contextmanager
def _opened(path: Path, flags: int) -> Iterator[tuple[int, int]]:
    """The log, locked, and its size; a failing system call is a :class:`UsageError` that names the file."""
    if fcntl is None:
        raise UsageError(f"{path}: a log of runs takes file locks (fcntl), which this platform does not have")
    adding = bool(flags & os.O_CREAT)
    try:
        if adding and path.parent.exists() and not path.parent.is_dir():
            raise UsageError(f"{path.parent}: not a folder")
        if adding and not path.parent.is_dir():
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            _sync(path.parent.parent)
        log = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)  # a pipe must not block
        try:
            status = os.fstat(log)
            if not stat.S_ISREG(status.st_mode):
                raise UsageError(f"{path}: not a regular file")
            if adding and stat.S_IMODE(status.st_mode) & 0o077:
                raise UsageError(f"{path}: others than its owner can use it; its mode has to be 0600")
            fcntl.flock(log, fcntl.LOCK_EX if adding else fcntl.LOCK_SH)
            yield log, os.fstat(log).st_size
        finally:
            os.close(log)
    except OSError as error:
        reason = "a symbolic link, which is not followed" if error.errno == errno.ELOOP else error.strerror
        raise UsageError(f"{path}: {reason}") from error


def _end(log: int, size: int) -> tuple[bytes, int]:
    """The last whole line, empty if there is none, and how many bytes come after it."""
    tail = os.pread(log, 2 * _LONGEST, max(0, size - 2 * _LONGEST))
    whole = tail.rfind(b"\n") + 1
    return tail[tail.rfind(b"\n", 0, max(0, whole - 1)) + 1 : whole], len(tail) - whole


def _write(log: int, line: bytes, length: int) -> None:
    """Put a line on the disk, at the end of a file of so many bytes, in one call; or leave the file as it was.

    Raises:
        OSError: it could not be written in full.
    """
    try:
        written = os.write(log, line)
        if written < len(line):
            raise OSError(errno.ENOSPC, f"only {written} of {len(line)} bytes could be written; is the disk full?")
        os.fsync(log)
    except OSError:
        os.ftruncate(log, length)
        raise


def _sync(folder: Path) -> None:
    """Put the names in a folder on the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _lines(file: BinaryIO, size: int) -> Iterator[tuple[int, bytes]]:
    """The lines within so many bytes, by number; of one that is too long only the begin."""
    file.seek(0)
    number = 0
    while size > 0 and (line := file.readline(min(size, _LONGEST + 1))):
        number, size, rest = number + 1, size - len(line), line
        while size > 0 and not rest.endswith(b"\n") and (rest := file.readline(min(size, _LONGEST))):
            size -= len(rest)
        yield number, line


def _read(line: bytes) -> Entry:
    """The entry in a line; whether its hash is its own is not looked at.

    Raises:
        ValueError: what is wrong with the line.
    """
    if len(line) > _LONGEST:
        raise ValueError(f"longer than {_LONGEST} bytes")
    try:
        form = json.loads(line.decode(), parse_int=_whole)
        canonical = rfc8785.dumps(form)
    except UnicodeDecodeError as error:
        raise ValueError("not UTF-8") from error
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    except ValueError as error:
        raise ValueError("not JSON, or with a number or text that RFC 8785 does not have") from error
    if canonical + b"\n" != line:
        raise ValueError("JSON, but not in the form of RFC 8785")
    if not isinstance(form, dict) or str(form.get("format")) != str(FORMAT):
        raise ValueError(f"not of format {FORMAT}")
    kinds = (_FEEDBACK if "feedback" in form else _KEYS) | {
        key: _OPTIONAL[key] for key in _OPTIONAL.keys() & form.keys()
    }
    odd = sorted(form.keys() ^ kinds.keys()) or [key for key in kinds if not isinstance(form[key], kinds[key])]
    if odd:
        raise ValueError(f"no entry of a log: {', '.join(odd)[:60]}")
    return Entry({key: value for key, value in form.items() if key != "hash"}, form["hash"])


def _whole(text: str) -> int | float:
    """An integer of JSON; RFC 8785 writes those from 2^53 on only as doubles."""
    return int(text) if abs(int(text)) < 2**53 else float(text)


# ---- checking ----------------------------------------------------------------------------------


def check(folder: Path, guideline: ExecutableGuideline | None = None, *, head: str | None = None) -> LogReport:
    """Whether the log in a folder is as it was written, and whether its records are still answered in the same way.

    Of links that are broken, what happened is worked out for the first; the log is read twice then.

    Args:
        guideline: asked again, by the same engine, with every record in the log that it was asked with.
        head: the hash of an entry that has to be in the log.

    Raises:
        UsageError: there is no such log, or it cannot be read; or ``head`` is no hash.
    """
    path = folder / FILE
    if head is not None and not _DIGEST.match(head):
        raise UsageError(f"{head[:80]!r} is no hash of an entry: sha256: and 64 hexadecimal digits")
    checker = _Checker(guideline, head)
    with _opened(path, os.O_RDONLY) as (log, size):
        fcntl.flock(log, fcntl.LOCK_UN)  # what is added from here on lies behind `size`
        with os.fdopen(log, "rb", closefd=False) as file:
            for number, line in _lines(file, size):
                checker.line(number, line)
            if checker.broken is not None:
                checker.problem(checker.broken[0], _what_happened(_lines(file, size), *checker.broken))
    return checker.report()


class _Checker:
    """What was found so far, going through a log line by line."""

    def __init__(self, guideline: ExecutableGuideline | None, head: str | None) -> None:
        self.guideline, self.wanted = guideline, head
        self.entries = 0
        self.problems: dict[Severity, list[tuple[int, Problem]]] = {"error": [], "warning": []}
        self.counted = Counter[Severity]()
        self.rerun, self.not_rerun = Counter[str](), Counter[str]()
        self.head: str | None = None
        self.last: Entry | None = None  # of the last line that could be read
        self.gap = False  # whether a line that could not be read comes after it
        self.broken: tuple[int, Entry, str | None] | None = None

    def problem(self, number: int, message: str, severity: Severity = "error") -> None:
        self.counted[severity] += 1
        if self.counted[severity] <= _LISTED:
            self.problems[severity].append((number, Problem(f"{FILE} line {number}", message[:300], severity=severity)))

    def line(self, number: int, line: bytes) -> None:
        if len(line) <= _LONGEST and not line.endswith(b"\n"):
            self.problem(number, f"torn: {len(line)} bytes of an entry that was never finished", "warning")
            return
        self.entries += 1
        try:
            entry = _read(line)
        except ValueError as error:
            self.problem(number, f"edited or inserted: {error}")
            self.not_rerun["not as it was written"] += 1
            self.gap = True
            return
        if _digest(entry.form) != entry.hash:
            self.problem(number, "edited: its hash is not that of what it says")
            self.not_rerun["not as it was written"] += 1
        else:
            self.entry(number, entry)
        self.last, self.gap = entry, False

    def entry(self, number: int, entry: Entry) -> None:
        """An entry whose hash is its own: its place in the chain, its time, and its record asked again."""
        form, self.head = entry.form, entry.hash
        if self.wanted == entry.hash:
            self.wanted = None
        expected = None if self.last is None else self.last.hash
        if form["previous"] != expected and not self.gap:
            if self.broken is None:
                self.broken = (number, entry, expected)
            else:
                self.problem(number, "it does not follow the line before it")
        if self.last is not None and form["at"] < self.last.form["at"]:
            self.problem(number, "its time is before that of the entry before it", "warning")
        if "healed" in form:
            self.problem(number, f"{form['healed']} bytes of a torn entry were removed before it", "warning")
        how, why = _again(form, self.guideline)
        if how == "not":
            self.not_rerun[why] += 1
            return
        self.rerun[how] += 1
        if how == "different":
            by = "" if form["b12kg"] == __version__ else f" (made by b12kg {form['b12kg'][:20]}, this is {__version__})"
            self.problem(number, why[:200] + by)

    def report(self) -> LogReport:
        found = [problem for _, problem in sorted(self.problems["error"] + self.problems["warning"], key=itemgetter(0))]
        for severity, count in self.counted.items():
            if count > _LISTED:
                found.append(Problem(FILE, f"{count - _LISTED} more {severity}s are not listed", severity=severity))
        if self.wanted is not None:
            message = "no entry has the hash that was given: the end was cut off, or the log was written anew"
            found.append(Problem(FILE, message, self.wanted))
        same, different = self.rerun["same"], self.rerun["different"]
        return LogReport(self.entries, tuple(found), same, different, dict(self.not_rerun), self.head)


def _what_happened(lines: Iterator[tuple[int, bytes]], here: int, entry: Entry, expected: str | None) -> str:
    """Why an entry does not name the hash of the line before it, by where else in the log the two hashes are."""
    previous, where, next_ = entry.form["previous"], dict[str, int](), 0
    for number, line in lines:
        try:
            other = _read(line)
        except ValueError:  # reported on the first way through
            continue
        if other.hash in (previous, entry.hash):
            where.setdefault(other.hash, number)
        if other.form["previous"] == expected:
            next_ = next_ or number
    if where[entry.hash] < here:
        return f"inserted: a copy of line {where[entry.hash]}"
    if previous is None:
        return "inserted: it is the first entry of some log"
    if previous in where:
        later = "" if where[previous] > here else ", and what stands between them came later"
        return f"{'inserted' if later else 'reordered'}: it follows line {where[previous]}{later}"
    if next_:
        return f"inserted: line {next_} follows line {here - 1}"
    return "removed: it follows an entry that is not there; that was removed, or edited and hashed anew"


def _again(form: Mapping[str, Any], guideline: ExecutableGuideline | None) -> tuple[str, str]:
    """Whether the record of an entry has the same answer now: ``same``, ``different`` or ``not`` asked; and why."""
    if "feedback" in form:
        return "not", "it tells what became of a card"
    if "given" not in form:
        return "not", "the record is not in the log"
    if guideline is None:
        return "not", "no guideline was given"
    if form["guideline"].get("digest") != guideline.content.digest:
        return "not", "of another guideline, or of another version of it"
    if form["engine"] not in get_args(Engine):
        return "not", "of an engine that is not known"
    try:
        answer = guideline.recommend(form["given"], engine=form["engine"])
    except ReasonerError:
        return "not", "the reasoner failed"
    except InvalidRecord as error:  # what stands in the record is not repeated here
        return "different", f"the record is not answered any more: {error.problems[0].path}"
    if answer.record.digest != form["record"]:
        return "different", "the record in it is another than the one whose digest it has"
    digests = _digests(answer.to_dict())
    was, now = form["outcomes"], digests["outcomes"]
    if was != now:
        other = sorted(name for name in was.keys() | now.keys() if was.get(name) != now.get(name))
        return "different", f"asked again, the answer is another in {', '.join(other)}"
    if digests["result"] != form["result"]:
        return "different", "asked again, the decisions are the same, and the rest of the answer is another"
    return "same", ""
