"""Where the interpreter's public functions lie in a running process.

The files are whatever the process has mapped: they are only read, with bounds, and what they say is
checked against the memory of the process before anything is built on it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

from elftools.common.exceptions import ELFError
from elftools.construct import ConstructError
from elftools.elf.elffile import ELFFile
from elftools.elf.hash import GNUHashSection
from elftools.elf.sections import SymbolTableSection

from yolowatch.edges.attach.memory import Mapping, Memory

RUNTIME = "_PyRuntime"
ADD_CALL = "Py_AddPendingCall"
RUN_TEXT = "PyRun_SimpleString"
VERSION = "Py_Version"  # since 3.11
_SINCE_3_8 = "Py_RunMain"
_WANTED = (RUNTIME, ADD_CALL, RUN_TEXT, VERSION, _SINCE_3_8)
_FUNCTIONS = (ADD_CALL, RUN_TEXT)
_COMPARED_BYTES = 16
_PAGE = os.sysconf("SC_PAGE_SIZE")


class NotThere(LookupError):
    """No mapped file is a CPython interpreter; the text says what stands in the way."""


@dataclass(frozen=True)
class Interpreter:
    """One running CPython: absolute addresses of its symbols, and where it came from."""

    path: str
    addresses: dict[str, int]
    version: tuple[int, int] | None
    machine: str  # as in ELF: "EM_X86_64"

    @property
    def is_old(self) -> bool:
        """Whether it is older than 3.8, in which the hook would not run."""
        return self.version is None and _SINCE_3_8 not in self.addresses


@dataclass(frozen=True)
class Cave:
    """Bytes behind the code of a mapped file, in its last page, that nothing ever executes."""

    address: int
    size: int


def find_interpreter(pid: int, maps: list[Mapping], memory: Memory) -> Interpreter:
    """The interpreter of `pid`; raises NotThere."""
    obstacle = "no file that it has mapped is a Python interpreter"
    for mapping in _candidates(maps):
        try:
            with open(_path_of(pid, mapping), "rb") as file:
                elf = ELFFile(file)
                found = _exported(elf, _WANTED)
                if not all(name in found for name in _FUNCTIONS):
                    continue
                bias = _bias(elf, mapping)
                addresses = {name: value + bias for name, value in found.items()}
                if not all(_is_loaded(elf, memory, found[n], addresses[n]) for n in _FUNCTIONS):
                    obstacle = f"{mapping.path} on the disk is not what is loaded there any more"
                    continue
                version = _version(memory, addresses)
                return Interpreter(mapping.path, addresses, version, str(elf["e_machine"]))
        except (ELFError, ConstructError, OSError, ValueError, KeyError, AttributeError) as error:
            obstacle = f"{mapping.path} cannot be read ({error})"
    raise NotThere(obstacle)


def find_cave(pid: int, maps: list[Mapping], size: int) -> Cave:
    """Room for `size` bytes behind the code of some mapped library; raises NotThere."""
    for mapping in maps:
        if "x" not in mapping.permissions or "w" in mapping.permissions:
            continue
        try:
            with open(_path_of(pid, mapping), "rb") as file:
                end = _end_of_code(ELFFile(file), mapping)
        except (ELFError, ConstructError, OSError, ValueError, KeyError, AttributeError):
            continue
        if end is not None and mapping.start < end <= mapping.end:
            begin = (end + 63) // 64 * 64
            if mapping.end - begin >= size:
                return Cave(begin, mapping.end - begin)
    raise NotThere("no library there has room behind its code")


def _candidates(maps: list[Mapping]) -> Iterator[Mapping]:
    """The first mapping of each file that may be an interpreter; those named so come first."""
    first: dict[str, Mapping] = {}
    for mapping in maps:
        first.setdefault(mapping.path, mapping)
    named = [m for m in first.values() if "python" in os.path.basename(m.path)]
    yield from sorted(named, key=lambda m: "libpython" not in m.path)
    executable = next(iter(first.values()), None)  # a program that Python is embedded in
    if executable is not None and executable not in named:
        yield executable


def _path_of(pid: int, mapping: Mapping) -> str:
    """The file itself, as its own mount namespace or ours names it; raises OSError."""
    for path in (f"/proc/{pid}/root{mapping.path}", mapping.path, f"/proc/{pid}/exe"):
        try:
            if os.stat(path).st_ino == mapping.inode:
                return path
        except OSError:
            continue
    raise OSError("it was replaced or removed since it was loaded")


def _exported(elf: ELFFile, names: tuple[str, ...]) -> dict[str, int]:
    hashes, section = (elf.get_section_by_name(name) for name in (".gnu.hash", ".dynsym"))
    found = {}
    for name in names:
        if isinstance(hashes, GNUHashSection):
            symbols = [hashes.get_symbol(name)]
        elif isinstance(section, SymbolTableSection):
            symbols = list(section.get_symbol_by_name(name) or [])
        else:
            break
        for symbol in symbols:
            if symbol is not None and symbol["st_value"] and symbol["st_shndx"] != "SHN_UNDEF":
                found[name] = int(symbol["st_value"])
    return found


def _bias(elf: ELFFile, mapping: Mapping) -> int:
    """What is added to the file's own addresses where it is loaded; none of a fixed program."""
    for segment in elf.iter_segments("PT_LOAD"):
        if segment["p_offset"] // _PAGE * _PAGE == mapping.offset:
            return int(mapping.start - segment["p_vaddr"] // _PAGE * _PAGE)
    raise ValueError("it is not mapped as it says")


def _end_of_code(elf: ELFFile, mapping: Mapping) -> int | None:
    for segment in elf.iter_segments("PT_LOAD"):
        if segment["p_flags"] & 1 and segment["p_offset"] // _PAGE * _PAGE == mapping.offset:
            begin = segment["p_vaddr"] // _PAGE * _PAGE
            return int(mapping.start + segment["p_vaddr"] + segment["p_filesz"] - begin)
    return None


def _is_loaded(elf: ELFFile, memory: Memory, value: int, address: int) -> bool:
    """Whether the first instructions of a function are in memory as they are in the file."""
    for segment in elf.iter_segments("PT_LOAD"):
        offset = value - segment["p_vaddr"]
        if 0 <= offset <= segment["p_filesz"] - _COMPARED_BYTES:
            elf.stream.seek(segment["p_offset"] + offset)
            return bool(elf.stream.read(_COMPARED_BYTES) == memory.read(address, _COMPARED_BYTES))
    return False


def _version(memory: Memory, addresses: dict[str, int]) -> tuple[int, int] | None:
    if VERSION not in addresses:
        return None
    number = memory.word(addresses[VERSION])
    return number >> 24 & 0xFF, number >> 16 & 0xFF
