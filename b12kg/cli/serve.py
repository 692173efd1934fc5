"""The command that serves: what may be reached from where, and what has to be given for that.

Owns the arguments' meaning and what is printed. The service itself is in ``service/``.
"""

from __future__ import annotations

import argparse
import gc
import ipaddress
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from b12kg.cli.files import ANSWERED, progress
from b12kg.errors import UsageError

if TYPE_CHECKING:
    from starlette.types import ASGIApp
    from uvicorn import Config

    from b12kg.nanopub import Key
    from b12kg.service.app import Settings

# What the machine of a service may have; above these, a number is a slip.
_MOST = {
    "max_body": 1_024,
    "max_requests": 10_000,
    "query_timeout": 3_600,
    "query_memory": 2**20,
    "query_rows": 10_000_000,
}
_DRAIN = 30  # seconds that requests have to end in, once the service is told to


def add_arguments(of: argparse.ArgumentParser) -> None:
    """The arguments of ``b12kg serve``."""
    of.add_argument("--host", default="127.0.0.1", metavar="ADDRESS", help="where to listen (default: 127.0.0.1)")
    of.add_argument("--port", type=int, default=8012, help="0 for any that is free (default: 8012)")
    of.add_argument("--name", action="append", default=[], metavar="HOST", help="a name it is asked by (repeatable)")
    of.add_argument("--token-file", metavar="FILE", help="a file with a token that every request has to bear")
    of.add_argument("--issuers", metavar="FILE", help="audience, issuers and their keys, for JSON Web Tokens")
    of.add_argument("--cors", action="append", default=[], metavar="ORIGIN", help="pages that may ask (repeatable)")
    of.add_argument("--record-to", metavar="FOLDER", help="keep the feedback on cards in the log in this folder")
    of.add_argument("--source", metavar="FILE", help="the guideline's document, to be shown beside it")
    of.add_argument("--max-body", type=int, default=4, metavar="MB", help="of one request (default: 4)")
    of.add_argument("--max-requests", type=int, default=64, metavar="N", help="at a time (default: 64)")
    of.add_argument("--query-timeout", type=float, default=10.0, metavar="SECONDS", help="of SPARQL (default: 10)")
    of.add_argument("--query-memory", type=int, default=1024, metavar="MB", help="of SPARQL (default: 1024)")
    of.add_argument("--query-rows", type=int, default=100_000, metavar="N", help="of an answer (default: 100,000)")


def serve(arguments: argparse.Namespace) -> int:
    """Serve until told to end; what is being answered then is answered still.

    Raises:
        UsageError: the extra is not installed, the address cannot be used, or it could be reached from elsewhere
            by everybody.
    """
    try:
        import uvicorn

        from b12kg.web.app import with_pages
    except ModuleNotFoundError as error:
        raise UsageError("serving takes an extra: install b12kg[serve]") from error
    from b12kg.recommend import load

    settings = settings_of(arguments)
    source = None if arguments.source is None else document(Path(arguments.source))
    with progress("reading the guideline; after a change of it, its tables are worked out"):
        guideline = load(arguments.guideline)
        app = with_pages(guideline, settings, source=source, key=signs())

    class Announcing(uvicorn.Server):
        async def startup(self, sockets: object = None) -> None:
            await super().startup()
            for server in self.servers:
                for socket in server.sockets:
                    host, port = socket.getsockname()[:2]
                    shown = f"[{host}]" if ":" in host else host
                    print(f"http://{shown}:{port}", flush=True)

    server = Announcing(config_of(app, arguments.host, arguments.port))
    # What is there now stays: the collector of garbage need not go through it for every some thousand requests.
    gc.collect()
    gc.freeze()
    # uvicorn ends what is under way, and then raises the signal again: that it was told to end is no failure.
    before = {number: signal.signal(number, lambda *_: None) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        server.run()
    except SystemExit as error:  # uvicorn's way to say that it could not listen
        raise UsageError(f"{arguments.host}:{arguments.port} cannot be listened at") from error
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if not server.started:
        raise UsageError(f"{arguments.host}:{arguments.port} cannot be listened at")
    return ANSWERED


def signs() -> Key | None:
    """What signs evidence packs, made at the first start; without it the pages offer none, and say so."""
    from b12kg.nanopub import signing_key

    try:
        return signing_key()
    except UsageError as error:
        print(f"no evidence packs: {error}", file=sys.stderr)
        return None


def document(path: Path) -> bytes:
    """The document of a guideline.

    Raises:
        UsageError: it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from error


def config_of(app: ASGIApp, host: str, port: int) -> Config:
    """How uvicorn serves an application: with bounded headers, and without a line of any request in a log."""
    from uvicorn import Config

    return Config(
        app,
        host=host,
        port=port,
        http="h11",  # of what is installed, the one that bounds the size of the headers
        ws="none",
        lifespan="on",
        log_config=None,
        log_level="warning",
        access_log=False,  # an address is a client's
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=10,
        timeout_graceful_shutdown=_DRAIN,
    )


def settings_of(arguments: argparse.Namespace) -> Settings:
    """How to serve, by the arguments.

    Raises:
        UsageError: it would be reached from elsewhere without a token; or a number or file is none.
    """
    from b12kg.service.app import LOOPBACK, Settings
    from b12kg.service.tokens import Tokens, read_issuers, read_token

    local = is_loopback(arguments.host)
    if not local and arguments.token_file is None and arguments.issuers is None:
        raise UsageError(
            f"{arguments.host} can be reached from elsewhere: say who may ask, by --token-file or --issuers"
        )
    for name, most in _MOST.items():
        if not 0 < getattr(arguments, name) <= most:
            raise UsageError(f"--{name.replace('_', '-')} has to be more than 0, and at most {most:,}")
    if not 0 <= arguments.port < 65_536:
        raise UsageError("--port is a number from 0 to 65535")
    if arguments.record_to == "":
        raise UsageError("--record-to names no folder")
    static = None if arguments.token_file is None else read_token(Path(arguments.token_file))
    audience, keys = ("", None) if arguments.issuers is None else read_issuers(Path(arguments.issuers))
    tokens = None if static is None and keys is None else Tokens(static, audience, keys)
    # Beyond loopback, who asks is known by a token, and no page of another origin has one.
    hosts = (*LOOPBACK, *map(str.lower, arguments.name)) if local or arguments.name else ()
    return Settings(
        tokens=tokens,
        hosts=hosts,
        origins=tuple(arguments.cors),
        record_to=None if arguments.record_to is None else Path(arguments.record_to),
        largest=arguments.max_body * 2**20,
        concurrent=arguments.max_requests,
        query_timeout=arguments.query_timeout,
        query_memory=arguments.query_memory * 2**20,
        query_rows=arguments.query_rows,
    )


def is_loopback(host: str) -> bool:
    """Whether an address can be reached from this machine only; a name other than ``localhost`` is not looked up.

    >>> is_loopback("127.0.0.1"), is_loopback("::1"), is_loopback("0.0.0.0"), is_loopback("example.org")
    (True, True, False, False)
    """
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:  # a name
        return False
