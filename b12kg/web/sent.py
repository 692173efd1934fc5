"""What a form sends: its fields, and a file with them if it uploads one.

Owns the reading of both forms of a form. The size of a body was bounded before, and no file is made of it.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request
from starlette.responses import Response

from b12kg.service.problem import problem

# It would say which character of a body is odd, and where.
logging.getLogger("python_multipart").setLevel(logging.CRITICAL)
_BOUNDLESS = 2**60  # what bounds it is the size of the body


async def fields(request: Request, most: int) -> list[tuple[str, str]] | Response:
    """The fields of a form in their order, or why it is refused.

    Args:
        most: how many there may be.
    """
    try:
        text = (await request.body()).decode()
        return parse_qsl(text, errors="strict", max_num_fields=most, keep_blank_values=True)
    except (UnicodeDecodeError, ValueError):
        return problem(400, "The form cannot be read", f"UTF-8, and at most {most} fields")


@dataclass(frozen=True, slots=True)
class Upload:
    """The fields of a form, and the file with its name; empty where none was chosen."""

    fields: dict[str, str]
    name: str
    data: bytes


class _InMemory(MultiPartParser):
    spool_max_size = _BOUNDLESS


async def upload(request: Request, names: tuple[str, ...], file: str) -> Upload | Response:
    """What a request uploads, or why that is refused.

    Args:
        names: of the fields that there may be.
        file: the field of the file.
    """
    refused = problem(
        400, "The form cannot be read", f"multipart/form-data with {', '.join((*names, file))}, each once"
    )
    parser = _InMemory(
        request.headers, request.stream(), max_files=1, max_fields=len(names) + 1, max_part_size=_BOUNDLESS
    )
    try:
        form = await parser.parse()
    except (MultiPartException, KeyError, UnicodeDecodeError):  # KeyError: it states no boundary
        return refused
    try:
        pairs: list[tuple[str, Any]] = form.multi_items()
        texts = {name: value for name, value in pairs if isinstance(value, str)}
        # Of a file that was not chosen, a browser sends an empty one, and a script may send an empty text.
        if texts.pop(file, "") or len({name for name, _ in pairs}) < len(pairs) or not texts.keys() <= {*names}:
            return refused
        found = form.get(file)
        if isinstance(found, UploadFile):
            return Upload(texts, found.filename or "", await found.read())
        return Upload(texts, "", b"") if {name for name, _ in pairs} <= {*names, file} else refused
    finally:
        await form.close()
