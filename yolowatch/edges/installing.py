"""Installs the hook into a Python environment, so that its trainings bring it along.

Three things stand in its site-packages then: a .pth, which Python reads at each start, the module
that it names, and the hook of this version in a folder of its own. Older versions stay until the
hook is uninstalled, because a training may run with one.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from yolowatch.edges import stage
from yolowatch.edges.files import write_all
from yolowatch.errors import StateError

PTH = "yolowatch_start.pth"
MODULE = "yolowatch_start.py"
FOLDER = "yolowatch_installed"
START = Path(stage.__file__).parent.parent / "hook" / "start.py"
CURRENT = "current"  # the link that PYTHONPATH names, so that it stays true with another version
_SECONDS = 60
_QUESTION = (
    "import sys, sysconfig; print(sys.version_info >= (3, 8), sysconfig.get_path('purelib'))"
)
_LINE = 'import os; os.environ.get("YOLOWATCH") == "0" or __import__("{0}").begin("{1}")\n'


def install(python: Path) -> Path:
    """Install the hook, or this version of it over another; where; raises StateError.

    `python` is an environment's folder or a Python itself.
    """
    packages = site_packages(python)
    try:
        (packages / FOLDER).mkdir(mode=0o755, exist_ok=True)
        staged = stage.stage(packages / FOLDER, shared=True)
        _replace(packages / MODULE, START.read_bytes())
        _compile(_program(python), packages / MODULE)
        line = _LINE.format(MODULE.removesuffix(".py"), staged.path.name)
        _replace(packages / PTH, line.encode())  # last: now it counts
    except OSError as error:
        raise _unwritable(packages, error) from error
    return packages


def stage_for_all(folder: Path) -> Path:
    """Stage the hook beneath `folder` for every user; the link to it. Raises StateError."""
    try:
        folder.mkdir(mode=0o755, parents=True, exist_ok=True)
        staged = stage.stage(folder, shared=True)
        with tempfile.TemporaryDirectory(prefix=".yolowatch-", dir=folder) as scratch:
            link = Path(scratch, CURRENT)
            link.symlink_to(staged.path.relative_to(folder))
            os.replace(link, folder / CURRENT)
    except OSError as error:
        raise StateError(
            f"The hook cannot be staged in {folder} ({error.strerror or error}): name a folder "
            "that you may write to."
        ) from error
    return folder / CURRENT


def uninstall(python: Path) -> bool:
    """Remove what `install` has put there; whether there was anything. Raises StateError."""
    packages = site_packages(python)
    found = False
    try:
        for name in (PTH, MODULE):  # the first one first: nothing is imported after that
            if (packages / name).exists():
                (packages / name).unlink()
                found = True
        if (packages / FOLDER).is_dir():
            shutil.rmtree(packages / FOLDER)
            found = True
    except OSError as error:
        raise _unwritable(packages, error) from error
    for cache in (packages / "__pycache__").glob("yolowatch_start.*.pyc"):
        with contextlib.suppress(OSError):
            cache.unlink()
    return found


def site_packages(python: Path) -> Path:
    """Where this Python, or that of this environment, looks for packages; raises StateError."""
    program = _program(python)
    try:
        done = subprocess.run(
            (str(program), "-I", "-c", _QUESTION),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise StateError(
            f"{python} is no Python and no environment with one ({error}): name the folder of the "
            "training's environment, or its python."
        ) from error
    is_new, _, path = done.stdout.strip().partition(" ")
    if done.returncode or not os.path.isabs(path):
        raise StateError(f"{program} does not say where its packages are: is it a whole Python?")
    if is_new != "True":
        raise StateError(f"{program} is older than 3.8, in which the hook cannot run.")
    return Path(path)


def _program(python: Path) -> Path:
    return python / "bin" / "python" if python.is_dir() else python


def _compile(program: Path, module: Path) -> None:
    """Now, and not at each start of a Python that may not write there; no matter if it fails."""
    subprocess.run(
        (str(program), "-I", "-m", "py_compile", str(module)),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=False,
    )


def _replace(path: Path, content: bytes) -> None:
    descriptor, temporary = tempfile.mkstemp(prefix=".yolowatch-", dir=path.parent)
    try:
        write_all(descriptor, content)
        os.fchmod(descriptor, 0o644)
        os.replace(temporary, path)
    finally:
        os.close(descriptor)
        Path(temporary).unlink(missing_ok=True)


def _unwritable(packages: Path, error: OSError) -> StateError:
    return StateError(
        f"{packages} cannot be written ({error.strerror or error}): run this as the owner of that "
        "environment."
    )


def is_installed(python: Path) -> bool:
    """Whether the hook of this very version is there; raises StateError."""
    packages = site_packages(python)
    try:
        line = (packages / PTH).read_text()
    except OSError:
        return False
    return stage.digest()[:16] in line and (packages / MODULE).is_file()
