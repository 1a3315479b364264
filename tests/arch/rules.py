"""Rules of the house that a linter cannot see, as functions from a package's folder to findings.

Each takes the folder of the package (`…/yolowatch`) and returns one line per finding, so that the
same function is run on the real tree, where it must find nothing, and on a planted violation,
where it must find exactly that. Directions of import are import-linter's, in pyproject.toml.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable, Container, Iterator
from pathlib import Path

# Rooms that run in somebody else's Python, under their own rules.
GUESTS = ("hook", "demo", "estimate")

FILE_FUNCTIONS = {
    "open", "io.open", "os.open", "os.fdopen", "os.remove", "os.unlink", "os.rename", "os.replace",
    "os.mkdir", "os.makedirs", "os.rmdir", "os.link", "os.symlink", "os.chmod", "os.chown",
    "os.truncate", "os.scandir", "os.listdir", "os.walk",
}  # fmt: skip
FILE_METHODS = {
    "open", "read_text", "write_text", "read_bytes", "write_bytes", "unlink", "mkdir", "rmdir",
    "touch", "iterdir", "rglob", "symlink_to", "hardlink_to", "chmod",
}  # fmt: skip
CLOCKS = {
    "time.time", "time.time_ns", "time.monotonic", "time.monotonic_ns", "time.perf_counter",
    "time.perf_counter_ns", "time.process_time", "time.clock_gettime", "time.clock_gettime_ns",
    "time.sleep", "datetime.datetime.now", "datetime.datetime.utcnow", "datetime.datetime.today",
    "datetime.date.today",
}  # fmt: skip
SIGNAL_FUNCTIONS = {"os.kill", "os.killpg", "signal.pidfd_send_signal", "signal.pthread_kill"}
SIGNAL_METHODS = {"kill", "terminate", "send_signal"}
EVALUATORS = {"eval", "exec", "compile", "__import__", "importlib.import_module"}
BROAD = {"Exception", "BaseException"}

# What the hook may import inside a function, because the training has imported it long since; and
# the name under which the hook is staged there.
TRAININGS_OWN = {"torch", "ultralytics", "utils", "models", "yolowatch_hook"}
# What a lever of the hook may import inside a function, because a policy has named that very lever.
NAMED_LEVERS_OWN = {"torch_pruning", "bitsandbytes"}


def files_only_at_the_edge(package: Path) -> list[str]:
    """Files are opened and changed in `edges` and `hands` only."""

    def finding(name: str, node: ast.AST) -> bool:
        return name in FILE_FUNCTIONS or _is_method_call(node, FILE_METHODS)

    return _findings(package, finding, "opens or changes a file", (*GUESTS, "edges", "hands"))


def clock_only_in_its_module(package: Path) -> list[str]:
    """The time is read, and slept away, in edges/clock.py only; elsewhere it is an argument."""
    return _findings(
        package, lambda name, node: name in CLOCKS, "reads the clock", GUESTS, ("edges/clock.py",)
    )


def signals_only_through_hands(package: Path) -> list[str]:
    """No other room than `hands` can end or signal a process."""

    def finding(name: str, node: ast.AST) -> bool:
        return name in SIGNAL_FUNCTIONS or _is_method_call(node, SIGNAL_METHODS)

    return _findings(package, finding, "signals a process", (*GUESTS, "hands"))


def nothing_evaluates(package: Path) -> list[str]:
    """No text becomes code, and no module is loaded under a name that import-linter cannot see."""
    return _findings(package, lambda name, node: name in EVALUATORS, "evaluates", GUESTS)


def broad_excepts(package: Path) -> dict[str, list[int]]:
    """Where everything is caught: module -> lines, in all rooms, guests included."""
    found: dict[str, list[int]] = {}
    for path, tree in _modules(package):
        for node in ast.walk(tree):
            caught: ast.expr | None
            if isinstance(node, ast.ExceptHandler):
                caught = node.type
            elif isinstance(node, ast.Call) and _tail(node.func) == "suppress":
                caught = ast.Tuple(elts=node.args)
            else:
                continue
            kinds = caught.elts if isinstance(caught, ast.Tuple) else [caught]
            if any(kind is None or _tail(kind) in BROAD for kind in kinds):
                found.setdefault(path, []).append(node.lineno)
    return found


def long_modules(package: Path, limit: int) -> dict[str, int]:
    """Modules of more lines than `limit`: module -> lines."""
    lengths = {
        path.relative_to(package).as_posix(): path.read_text().count("\n")
        for path in _sources(package)
    }
    return {path: lines for path, lines in lengths.items() if lines > limit}


def guests_stand_alone(package: Path) -> list[str]:
    """A guest imports itself by relative imports only; the hook nothing else but the library.

    Inside its functions the hook may import what the training itself has already imported.
    """
    found = []
    for path, tree in _modules(package):
        room = path.split("/")[0]
        if room not in GUESTS:
            continue
        for node, in_function in _imports(tree):
            if isinstance(node, ast.Import):
                roots = [alias.name.split(".")[0] for alias in node.names]
            elif node.level == 0:
                roots = [(node.module or "").split(".")[0]]
            else:
                # A path has as many slashes as there are levels down from the package.
                roots = [package.name] if node.level > path.count("/") else []
            for root in roots:
                named = path.startswith("hook/levers/") and root in NAMED_LEVERS_OWN
                known = _is_library(root) or (in_function and (named or root in TRAININGS_OWN))
                if root == package.name or (room == "hook" and not known):
                    found.append(f"{path}:{node.lineno} imports {root}")
    return found


def _imports(tree: ast.Module) -> Iterator[tuple[ast.Import | ast.ImportFrom, bool]]:
    functions = [n for n in ast.walk(tree) if isinstance(n, (ast.FunctionDef, ast.Lambda))]
    inside = {id(node) for function in functions for node in ast.walk(function)}
    for node in ast.walk(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            yield node, id(node) in inside


def hook_is_python38(package: Path) -> list[str]:
    """The hook's files are in the syntax of Python 3.8."""
    found = []
    for path in _sources(package):
        if path.relative_to(package).parts[0] == "hook":
            try:
                ast.parse(path.read_text(), feature_version=(3, 8))
            except SyntaxError as error:
                found.append(f"{path.relative_to(package)}:{error.lineno} {error.msg}")
    return found


def _is_library(root: str) -> bool:
    return root == "__future__" or root in sys.stdlib_module_names


def _sources(package: Path) -> list[Path]:
    return sorted(package.rglob("*.py"))


def _modules(package: Path) -> Iterator[tuple[str, ast.Module]]:
    for path in _sources(package):
        yield path.relative_to(package).as_posix(), ast.parse(path.read_text(), str(path))


def _findings(
    package: Path,
    is_finding: Callable[[str, ast.AST], bool],
    verb: str,
    but_rooms: Container[str] = (),
    but_modules: Container[str] = (),
) -> list[str]:
    """Every reference, not only calls: a clock handed on as a default is read all the same."""
    found = []
    for path, tree in _modules(package):
        if path.split("/")[0] in but_rooms or path in but_modules:
            continue
        names = _imported_names(tree)
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                if is_finding("", node):
                    found.append(f"{path}:{node.lineno} {verb}: {ast.unparse(node.func)}")
            elif isinstance(node, (ast.Name, ast.Attribute)) and isinstance(node.ctx, ast.Load):
                name = _dotted(node, names)
                if name and is_finding(name, node):
                    found.append(f"{path}:{node.lineno} {verb}: {name}")
    return sorted(set(found))


def _imported_names(tree: ast.Module) -> dict[str, str]:
    """What each imported name stands for: {"t": "time", "now": "time.monotonic"}."""
    names = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                root = alias.name.split(".")[0]
                names[alias.asname or root] = alias.name if alias.asname else root
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                names[alias.asname or alias.name] = f"{node.module}.{alias.name}"
    return names


def _dotted(node: ast.expr, names: dict[str, str]) -> str:
    """`t.time` with `import time as t` is "time.time"; of what is no plain dotted name, ""."""
    if isinstance(node, ast.Name):
        return names.get(node.id, node.id)
    if isinstance(node, ast.Attribute):
        left = _dotted(node.value, names)
        return f"{left}.{node.attr}" if left else ""
    return ""


def _is_method_call(node: ast.AST, methods: set[str]) -> bool:
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in methods
    )


def _tail(node: ast.expr | None) -> str:
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")
