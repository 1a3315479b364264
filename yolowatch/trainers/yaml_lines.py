"""Changes single values in a trainer's YAML file and leaves every other byte as it was.

The trainers write such files with one key a line, and people edit them: a changed file must still
be theirs. What is not written like that is refused instead of being written anew.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

Path = tuple[str, ...]
"""Where a value stands: the names of the mappings around it, and its own."""

_KEY = re.compile(rb"( *)([A-Za-z_]\w*):(?=[ \t\r\n]|\Z)")
_MAX_BYTES = 1 << 20


def rewrite(name: str, document: bytes, changes: Mapping[Path, int | float]) -> bytes:
    """The document of the file `name` with these values in it.

    Keys of the outermost mapping that are missing are added at the end. Raises ValueError, a
    sentence, for a document that is not one mapping with a key a line, or in which a changed key is
    not one plain value.
    """
    not_a_line = f"{name} is not written with one key a line, so it is not changed."
    wanted = mapping(name, document)
    lines = document.splitlines(keepends=True)
    if lines and not lines[-1].endswith((b"\n", b"\r")):
        lines[-1] += b"\n"
    for path, value in changes.items():
        at = _lines_of(lines, path)
        if len(at) > 1:
            raise ValueError(f"{name} names {'.'.join(path)} twice, so it is not changed.")
        if at:
            lines[at[0]] = _changed(lines[at[0]], path[-1], value)
        elif len(path) == 1 and path[0] not in wanted:
            lines.append(f"{path[0]}: {_scalar(value)}\n".encode())
        else:
            raise ValueError(not_a_line)
        holder = wanted
        for each in path[:-1]:
            if not isinstance(holder.get(each), dict):
                raise ValueError(not_a_line)
            holder = holder[each]
        holder[path[-1]] = value
    changed = b"".join(lines)
    try:
        understood = mapping(name, changed) == wanted
    except ValueError:
        understood = False  # a value went on over the next lines
    if not understood:
        raise ValueError(not_a_line)
    return changed


def mapping(name: str, document: bytes) -> dict[Any, Any]:
    """What the file `name` says; raises ValueError, a sentence, if it is no mapping."""
    if len(document) > _MAX_BYTES:
        raise ValueError(f"{name} is larger than 1 MiB, so it is not read.")
    try:
        parsed = yaml.safe_load(document.decode("utf-8"))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ValueError(f"{name} is no YAML document ({type(error).__name__}).") from None
    if not isinstance(parsed, dict):
        raise ValueError(f"{name} holds no mapping, so it is not changed.")
    return parsed


def _lines_of(lines: Sequence[bytes], path: Path) -> list[int]:
    """The lines that name the last key of the path, among those of the mappings around it."""
    begin, end, indent = 0, len(lines), 0
    found: list[int] = []
    for key in path:
        found = [i for i in range(begin, end) if _key(lines[i]) == (indent, key.encode())]
        if len(found) != 1:
            return found
        begin = found[0] + 1
        inner = [i for i in range(begin, end) if lines[i].strip() and _depth(lines[i]) <= indent]
        end = inner[0] if inner else end
        indent = next((_depth(each) for each in lines[begin:end] if each.strip()), 0)
    return found


def _key(line: bytes) -> tuple[int, bytes] | None:
    match = _KEY.match(line)
    return (len(match.group(1)), match.group(2)) if match else None


def _depth(line: bytes) -> int:
    return len(line) - len(line.lstrip(b" "))


def _changed(line: bytes, key: str, value: int | float) -> bytes:
    comment = re.search(rb"[ \t]+#[^\r\n]*", line)
    ending = line[len(line.rstrip(b"\r\n")) :]
    new = f"{key}: {_scalar(value)}".encode()
    return line[: _depth(line)] + new + (comment.group() if comment else b"") + ending


def _scalar(value: int | float) -> str:
    # YAML 1.1 reads 5e-05 as text: its floats have a point.
    text = repr(value)
    return text.replace("e", ".0e", 1) if "e" in text and "." not in text else text
