"""Works the shipped guidelines out while a wheel is built, so that the wheel's first answer need not."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class WorkedOut(BuildHookInterface[Any]):
    """Adds one file for each guideline; an editable install has the checkout's cache folder instead."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version == "editable":
            return
        sys.path.insert(0, self.root)
        from b12kg.compiled import compile_guideline, file_name, write
        from b12kg.resources import GUIDELINES

        for folder in sorted(path for path in GUIDELINES.iterdir() if path.is_dir()):
            name = file_name(folder)
            made = Path(self.directory) / "tables" / name
            write(compile_guideline(folder), made, folder)
            build_data["force_include"][str(made)] = f"b12kg/_data/tables/{name}"
