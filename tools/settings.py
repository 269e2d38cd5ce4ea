"""Write what is made from the model of settings: the keywords of the Python functions, and the reference page.

``python -m tools.settings`` writes both; ``--check`` writes nothing and fails if they are out of date.
"""

from __future__ import annotations

import json
import sys
import textwrap
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel

from autogate.goals.config import SearchConfig
from autogate.goals.option import GROUPS, Setting, settings_of, taken_by

ROOT = Path(__file__).resolve().parents[1]
KEYWORDS = {
    "search": "Keywords of :func:`autogate.search` and :func:`autogate.dry_run`.",
    "resume": "Keywords of :func:`autogate.resume`.",
    "profile": "Keywords of :func:`autogate.profile`.",
    "sensitivity": "Keywords of :func:`autogate.sensitivity`.",
}
_RESUME = {
    "never": "no",
    "free": "yes",
    "goal": "yes, all trials are judged again",
    "target": "yes, latencies are predicted again",
}


def keywords_module(model: type[BaseModel]) -> str:
    """Return the source of ``autogate/goals/settings.py``."""
    parts = [
        '"""Keywords of the Python functions; written by ``python -m tools.settings``."""',
        "",
        "from __future__ import annotations",
        "",
        "from typing import Literal, TypedDict",
    ]
    for command, text in KEYWORDS.items():
        parts += ["", "", f"class {command.capitalize()}Settings(TypedDict, total=False):", f'    """{text}"""', ""]
        for setting in taken_by(model, command).values():
            if not setting.option.positional:
                parts.append(f"    {setting.name}: {_type(setting)}")
                parts += textwrap.wrap(
                    f'"""{_help(setting, command)}"""', 116, initial_indent="    ", subsequent_indent="    "
                )
    return "\n".join(parts) + "\n"


def reference_page(model: type[BaseModel]) -> str:
    """Return ``docs/options.md``."""
    lines = [
        "# Settings",
        "",
        "Every setting of a search. On the command line it is a flag; in a file given with `--config`, the flag's name",
        "with underscores; in Python, a keyword. The column `resume` says whether `autogate resume` may change it.",
        "This page is written by `python -m tools.settings` from the fields in `autogate/goals`.",
    ]
    for group in GROUPS:
        found = [s for s in settings_of(model).values() if s.option.group == group and s.option.commands]
        if not found:
            continue
        lines += ["", f"## {group.capitalize()}", ""]
        lines += ["| flag | Python | value | default | resume | commands | |", "|---|---|---|---|---|---|---|"]
        for setting in found:
            cells = (
                f"`{setting.flag}`",
                f"`{setting.name}`",
                _value(setting),
                _default(setting),
                _RESUME[setting.option.on_resume],
                ", ".join(f"`{command}`" for command in setting.option.commands),
                setting.option.help,
            )
            lines.append(f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |")
    return "\n".join(lines) + "\n"


def files(model: type[BaseModel] = SearchConfig) -> dict[Path, str]:
    """Return what is made from the model, by path."""
    return {
        ROOT / "autogate/goals/settings.py": keywords_module(model),
        ROOT / "docs/options.md": reference_page(model),
    }


def main() -> int:
    """Write the files; with ``--check``, say which are out of date."""
    wrong = [path for path, text in files().items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    for path in wrong:
        if "--check" in sys.argv:
            print(f"{path.relative_to(ROOT)} is out of date; run python -m tools.settings")
        else:
            path.write_text(files()[path], encoding="utf-8")
            print(f"wrote {path.relative_to(ROOT)}")
    return 1 if wrong and "--check" in sys.argv else 0


def _type(setting: Setting) -> str:
    """Return the type as source text."""
    text = _type_text(setting.type)
    return f"{text} | None" if setting.optional else text


def _type_text(kind: Any) -> str:
    if kind is ...:
        return "..."
    members = get_args(kind)
    if get_origin(kind) is Literal:
        return f"Literal[{', '.join(map(json.dumps, members))}]"
    if get_origin(kind) is tuple:
        return f"tuple[{', '.join(map(_type_text, members))}]"
    return " | ".join(map(_type_text, members)) if members else str(kind.__name__)


def _help(setting: Setting, command: str) -> str:
    option = setting.option
    return (command == "resume" and option.resume_help) or option.help


def _value(setting: Setting) -> str:
    """Return what the value is: its choices, or its kind with unit and bounds."""
    if setting.choices:
        return ", ".join(f"`{choice}`" for choice in setting.choices)
    if setting.type is bool:
        return "flag"
    words = {"gt": "above", "ge": "at least", "lt": "below", "le": "at most"}
    bounds = [f"{word} {_number(setting.bounds[key])}" for key, word in words.items() if key in setting.bounds]
    unit = "" if setting.option.unit is None else f" ({setting.option.unit})"
    number = ", ".join([f"{setting.kind.removeprefix('a ')}{unit}", *bounds])
    if setting.option.parse is not None:
        return f"text; in Python {number}"
    return "text" if setting.is_text or setting.option.positional else number


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:,.10g}"


def _default(setting: Setting) -> str:
    if setting.option.default_help is not None:
        return setting.option.default_help
    if setting.type is bool:
        return "off"
    default = setting.option.default_text or setting.default
    return "none" if default is None else f"`{default}`"


if __name__ == "__main__":
    sys.exit(main())
