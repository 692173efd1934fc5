"""What the service answers in a second, beside constant bytes of the same size from the same server, in one run.

Run by ``make bench-serve``; prints its tables and writes them to ``SERVE.md``. Client (wrk) and server share this
machine. The constant bytes pass the same limits and the same routing, and are asked for by the same bodies; rounds of
both alternate, and the medians are compared. Also: the memory of the server over many requests, and what SPARQL
queries that explode do to the others.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from b12kg.resources import EXAMPLES

RESULTS = Path(__file__).parent / "SERVE.md"
RECORD = EXAMPLES / "conflict.json"
ASK = "/api/recommend?explain=false"
CONNECTIONS, SECONDS, ROUNDS = 32, 10, 5
REQUESTS = 200_000
# Promises, as in docs/threat-model.md.
LEAST_RATE, MOST_P99, MOST_P99_WITH_BOMBS = 0.40, 4.0, 2.0
BOMB = "SELECT (COUNT(*) AS ?n) { ?a ?b ?c . ?d ?e ?f . ?g ?h ?i . FILTER(?a != ?i) }"
POST = """
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
local file = io.open("{record}", "rb")
wrk.body = file:read("*a")
function done(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format('{{"requests": %d, "seconds": %f, "p50": %f, "p99": %f, "failed": %d}}',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
    errors.status + errors.connect + errors.read + errors.write + errors.timeout))
end
"""


@dataclass(frozen=True, slots=True)
class Load:
    """What wrk measured: requests a second, and latencies in ms."""

    rate: float
    p50: float
    p99: float
    requests: int


def serve(port: int) -> None:
    """Be the server: the service as ``b12kg serve`` runs it, and one route of constant bytes more."""
    import gc

    import uvicorn
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route

    import b12kg
    from b12kg.cli.serve import config_of
    from b12kg.service.api import as_json
    from b12kg.service.app import Settings, application

    guideline = b12kg.load()
    constant = as_json(guideline.recommend(RECORD.read_bytes()).to_dict(explain=False))

    async def answer(request: Request) -> Response:
        await request.body()
        return Response(
            constant, headers={"Cache-Control": "no-store", "Vary": "Accept"}, media_type="application/json"
        )

    app = application(
        guideline, Settings(concurrent=256), more=lambda *_: [Route("/constant", answer, methods=["POST"])]
    )
    gc.collect()
    gc.freeze()
    uvicorn.Server(config_of(app, "127.0.0.1", port)).run()


@contextmanager
def server() -> Iterator[tuple[str, int]]:
    """The address and the process of a server, once it answers."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen([sys.executable, __file__, "--server", str(port)])
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(200):
            try:
                urllib.request.urlopen(f"{address}/health").close()
                break
            except OSError:
                time.sleep(0.1)
        else:
            raise RuntimeError("the server does not answer")
        yield address, process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def load(url: str, script: Path, seconds: int, connections: int = CONNECTIONS) -> Load:
    """What wrk measures at an address; a request that failed ends the run."""
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", "-s", str(script), url]
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = json.loads(out[out.index("{") :])
    if found["failed"]:
        raise RuntimeError(f"{url}: {found['failed']} of {found['requests']} requests failed")
    return Load(found["requests"] / found["seconds"], found["p50"], found["p99"], found["requests"])


def memory(pid: int) -> float:
    """Resident memory of a process in MB."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    found = re.search(r"VmRSS:\s+(\d+) kB", status)
    assert found is not None
    return int(found[1]) / 1024


def bomb(address: str, stop: Path) -> None:
    """Ask queries that explode, one after the other, until a file is there."""
    while not stop.exists():
        try:
            urllib.request.urlopen(f"{address}/sparql?query={urllib.parse.quote(BOMB)}", timeout=60).close()
        except OSError:
            time.sleep(0.01)  # 503, as it has to be


def median(loads: list[Load]) -> Load:
    """The median of each figure."""
    return Load(
        *(statistics.median(getattr(one, name) for one in loads) for name in ("rate", "p50", "p99")),
        sum(one.requests for one in loads),
    )


def measure(script: Path, rounds: int, seconds: int, requests: int) -> list[str]:
    """The tables, as lines of Markdown."""
    lines = []
    with server() as (address, pid):
        for path in ("/constant", ASK):
            load(address + path, script, 2)
        constant, asked = [], []
        for _ in range(rounds):
            constant.append(load(f"{address}/constant", script, seconds))
            asked.append(load(address + ASK, script, seconds))
        one, other = median(constant), median(asked)
        share, slower = other.rate / one.rate, other.p99 / one.p99
        lines += [
            "| asked for | requests a second | p50, ms | p99, ms |",
            "|---|---:|---:|---:|",
            f"| constant bytes | {one.rate:,.0f} | {one.p50:.1f} | {one.p99:.1f} |",
            f"| `{ASK}` | {other.rate:,.0f} | {other.p50:.1f} | {other.p99:.1f} |",
            "",
            f"Rate: {share:.0%} of that of constant bytes (promised: {LEAST_RATE:.0%} at least). "
            f"p99: {slower:.1f} times theirs (promised: {MOST_P99:g} at most).",
            "",
        ]
        done, sizes = 0, [memory(pid)]
        while done < requests:
            done += load(address + ASK, script, seconds).requests
            sizes.append(memory(pid))
        lines += [
            f"Memory: {sizes[0]:.0f} MB before, {sizes[-1]:.0f} MB after {done:,} more requests "
            f"(after each {seconds} s: {', '.join(f'{size:.0f}' for size in sizes)}).",
            "",
        ]
        urllib.request.urlopen(
            f"{address}/sparql?query=ASK%7B%7D", timeout=300
        ).close()  # the guideline is audited first
        with tempfile.TemporaryDirectory() as folder:
            stop = Path(folder) / "stop"
            # One for each worker, so that there is always one under way in each.
            bombs = [subprocess.Popen([sys.executable, __file__, "--bomb", address, str(stop)]) for _ in range(2)]
            try:
                time.sleep(1)
                beside = [load(address + ASK, script, seconds) for _ in range(rounds)]
            finally:
                stop.touch()
                for process in bombs:
                    process.wait(90)
            alone = [load(address + ASK, script, seconds) for _ in range(rounds)]
        without, with_bombs = median(alone), median(beside)
        lines += [
            "| beside | requests a second | p99, ms |",
            "|---|---:|---:|",
            f"| nothing | {without.rate:,.0f} | {without.p99:.1f} |",
            f"| SPARQL that explodes | {with_bombs.rate:,.0f} | {with_bombs.p99:.1f} |",
            "",
            f"p99: {with_bombs.p99 / without.p99:.1f} times (promised: {MOST_P99_WITH_BOMBS:g} at most).",
        ]
    return lines


def main() -> None:
    """Measure and write, or be one of the other processes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--server", type=int, metavar="PORT")
    parser.add_argument("--bomb", nargs=2, metavar=("ADDRESS", "FILE"))
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--seconds", type=int, default=SECONDS)
    parser.add_argument("--requests", type=int, default=REQUESTS)
    arguments = parser.parse_args()
    if arguments.server:
        serve(arguments.server)
        return
    if arguments.bomb:
        bomb(arguments.bomb[0], Path(arguments.bomb[1]))
        return
    if shutil.which("wrk") is None:
        sys.exit("wrk is needed: apt-get install wrk")
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "post.lua"
        script.write_text(POST.format(record=RECORD), encoding="utf-8")
        lines = measure(script, arguments.rounds, arguments.seconds, arguments.requests)
    packages = ", ".join(f"{name} {version(name)}" for name in ("starlette", "uvicorn", "h11"))
    loop = f"uvloop {version('uvloop')}" if find_spec("uvloop") else "asyncio"
    text = "\n".join(
        [
            "# The service under load",
            "",
            f"`make bench-serve`, Python {platform.python_version()}, {packages}, {loop}; {os.cpu_count()} cores for "
            f"client and server; one worker; wrk at {CONNECTIONS} connections, the median of {arguments.rounds} rounds "
            f"of {arguments.seconds} s, in turns; load of the machine before: {os.getloadavg()[0]:.1f}.",
            "",
            *lines,
            "",
        ]
    )
    print(text)
    RESULTS.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
