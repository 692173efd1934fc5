"""``python -m tests.mutants [WORD]``: the score of the cases and checks against every mutant of the guideline.

Prints for each kind of mutant what noticed it first, and each survivor. Exits 1 if a survivor is not
named in survivors.yaml with a reason, or if what is named there does not survive. With WORD, only
the mutants whose id contains it, each with what noticed it.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import yaml

from tests.mutants.kill import BY, Kill, judge, kill

PROCESSES = 2
SURVIVORS = Path(__file__).with_name("survivors.yaml")


def survivors_named() -> dict[str, str]:
    """The survivors that are excused, each with the reason."""
    return dict(yaml.safe_load(SURVIVORS.read_text(encoding="utf-8")) or {})


def killed(ids: list[str]) -> dict[str, Kill | None]:
    """What notices each mutant."""
    with ProcessPoolExecutor(PROCESSES, mp_context=get_context("spawn")) as pool:
        return dict(zip(ids, pool.map(kill, ids, chunksize=10), strict=True))


def report(kills: Mapping[str, Kill | None]) -> None:
    """The score by kind of mutant and in all, as a table."""
    kinds = {id_: judge().mutants[id_].kind for id_ in kills}
    width = max(map(len, kinds.values()))
    print("".ljust(width), "mutants", *(by.rjust(8) for by in BY), "survive", sep="  ")
    for kind in [*dict.fromkeys(kinds.values()), "all"]:
        of_kind = [found for id_, found in kills.items() if kind in (kinds[id_], "all")]
        counts = Counter(found.by if found else None for found in of_kind)
        cells = (str(counts[by] or "").rjust(8) for by in BY)
        print(kind.ljust(width), str(len(of_kind)).rjust(7), *cells, str(counts[None] or "").rjust(7), sep="  ")


def main(words: list[str]) -> int:
    """Runs the mutants, and says how many are noticed."""
    ids = [id_ for id_ in judge().mutants if all(word in id_ for word in words)]
    if not ids:
        print(f"no mutant's id contains {' and '.join(words)}")
        return 1
    kills = killed(ids)
    named = {id_: reason for id_, reason in survivors_named().items() if id_ in kills or not words}
    if words:
        for id_, found in kills.items():
            print(f"{id_}\n    {f'{found.by}: {found.words}' if found else 'survives'}")
    report(kills)
    survivors = [id_ for id_, found in kills.items() if found is None]
    excused = len(named.keys() & set(survivors))
    dead, counted = len(kills) - len(survivors), len(kills) - excused
    share = f"{100 * dead / counted:.1f} %" if counted else "nothing to kill"
    print(f"\nscore: {dead} of {counted} killed, {share}; not counted: {excused} that change no answer")
    for id_ in survivors:
        print(f"survives: {id_}\n    {named.get(id_, 'NO REASON IS GIVEN in survivors.yaml')}")
    stale = sorted(named.keys() - set(survivors))
    for id_ in stale:
        print(f"named in survivors.yaml, and does not survive: {id_}")
    return 1 if stale or set(survivors) - named.keys() else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
