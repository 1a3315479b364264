"""The real parts that tests and the demo use: trainers' Pythons and Debian's tools, built once.

    python tests/environments.py ultralytics    prints the path of a Python that has this trainer
    python tests/environments.py promtool       prints the path of this tool

One installation of torch, by far the largest part, is shared: each trainer's environment is a thin
virtual environment whose `.pth` file names the base's packages, its own standing before them.
Standard library only, because it runs before anything is installed; paths go to standard output and
progress to standard error; no system package is ever installed and no root is needed.
YOLOWATCH_TRAINER_PYTHON names a Python to use instead, which is checked but never changed.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

TORCH_PAIR = ("torch==2.15.0", "torchvision==0.29.2")
ANY_TORCH_PAIR = ("torch", "torchvision")
PROVE_TORCH = "import torch, torchvision; torchvision.ops.nms(torch.rand(1, 4), torch.rand(1), 0.5)"
TORCH_NEEDS_BYTES = 8 * 1024**3
SECONDS_BETWEEN_PROGRESS = 5.0


class Problem(Exception):
    """One sentence with the cause and the cure."""


@dataclass(frozen=True)
class Environment:
    """A trainer's packages and a program that fails unless they really work together."""

    requirements: tuple[str, ...]
    proof: str
    newest_minor: int | None = None


# yolov5 and yolov9 were written for an older world: np.trapz, pkg_resources; yolov9 draws random
# sizes between floats, which Python 3.12 refuses.
ENVIRONMENTS = {
    "ultralytics": Environment(("ultralytics==8.4.190",), "from ultralytics import YOLO"),
    "ultralytics-8.3": Environment(("ultralytics>=8.3,<8.4",), "from ultralytics import YOLO"),
    "ultralytics-8.2": Environment(("ultralytics>=8.2,<8.3",), "from ultralytics import YOLO"),
    # With the packages of the levers that a policy must name.
    "ultralytics-opt-in": Environment(
        ("ultralytics==8.4.190", "torch-pruning==1.6.1", "bitsandbytes==0.50.2"),
        "import torch_pruning, bitsandbytes; from ultralytics import YOLO",
    ),
    # With what it sends a training to the ranks by that it spawns.
    "ultralytics-ranks": Environment(
        ("ultralytics==8.4.190", "cloudpickle==3.1.2"),
        "import cloudpickle; from ultralytics import YOLO",
    ),
    "yolov5": Environment(("yolov5==7.0.14", "numpy<2.4", "setuptools<81"), "import yolov5.train"),
    "yolov9": Environment(
        ("yolov9py==1.1.0", "numpy<2.4", "setuptools<81"),
        "import yolov9.train, yolov9.train_dual",
        newest_minor=11,
    ),
}

# What the command line calls it -> (Debian's package, the program in it).
TOOLS = {
    "promtool": ("prometheus", "promtool"),
    "prometheus": ("prometheus", "prometheus"),
    "amtool": ("prometheus-alertmanager", "amtool"),
    "prometheus-alertmanager": ("prometheus-alertmanager", "prometheus-alertmanager"),
}

# Shared libraries that OpenCV wants from the system, and the Debian packages that have them.
LIBRARIES = {
    "libGL.so.1": "libgl1",
    "libglib-2.0.so.0": "libglib2.0-0",
    "libgthread-2.0.so.0": "libglib2.0-0",
    "libgomp.so.1": "libgomp1",
    "libSM.so.6": "libsm6",
    "libXext.so.6": "libxext6",
    "libXrender.so.1": "libxrender1",
}


def trainer_python(name: str) -> Path:
    """The path of a Python in which the trainer `name` imports, built first where it must be."""
    environment = ENVIRONMENTS[name]
    given = os.environ.get("YOLOWATCH_TRAINER_PYTHON")
    if given:
        return _checked_python(given, name, environment)
    interpreter, version = _interpreter(name, environment)
    room = _cache("environments")
    # A changed recipe is another folder: what a training may be running in is never rebuilt.
    base = room / f"torch-py{version}-{_digest(TORCH_PAIR)}"
    layer = room / f"{name}-py{version}-{_digest((base.name, environment))}"
    if not (_is_ready(base) and _is_ready(layer)):
        with _lock(room / "lock"):
            if not _is_ready(base):
                _build_base(base, interpreter)
            if not _is_ready(layer):
                _build_layer(layer, interpreter, base, environment)
    return layer / "bin" / "python"


def python_with(name: str, requirements: Sequence[str]) -> Path:
    """The path of a Python with these packages and no torch: what a measurement compares with."""
    own = Path(getattr(sys, "_base_executable", None) or sys.executable)
    room = _cache("environments")
    folder = room / f"{name}-py3.{sys.version_info.minor}-{_digest(tuple(requirements))}"
    if not _is_ready(folder):
        with _lock(room / "lock"):
            if not _is_ready(folder):
                _new_venv(folder, own)
                _pip_install(folder, requirements)
                (folder / "ready").touch()
    return folder / "bin" / "python"


def trainer_variables(settings: Path) -> dict[str, str]:
    """Environment variables that keep a trainer off the network and its settings in this folder.

    yolov5 and yolov9 load their own checkpoints as older torch did, and plot with a font that they
    would download: a test with plots or classes to name puts any TTF there as Arial.ttf.
    """
    return {
        "YOLO_CONFIG_DIR": str(settings),
        "YOLOV5_CONFIG_DIR": str(settings),
        "MPLCONFIGDIR": str(settings),
        "YOLO_OFFLINE": "1",
        "YOLO_AUTOINSTALL": "False",
        "WANDB_MODE": "disabled",
        "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": "1",
    }


def debian_tool(package: str, program: str) -> Path:
    """The path of `program`: on PATH, else unpacked from Debian's package into the cache."""
    found = shutil.which(program)
    if found:
        return Path(found)
    unpacked = _cache("debian") / package
    if not unpacked.is_dir():
        with _lock(unpacked.with_name("lock")):
            if not unpacked.is_dir():
                _unpack(package, unpacked)
    for folder in ("usr/bin", "usr/sbin", "bin", "sbin"):
        if (unpacked / folder / program).is_file():
            return unpacked / folder / program
    raise Problem(f"Debian's package {package} holds no program {program}: name another package.")


# ---------------------------------------------------------------- environments


def _checked_python(given: str, name: str, environment: Environment) -> Path:
    path = shutil.which(given)
    if path is None:
        raise Problem(
            f"YOLOWATCH_TRAINER_PYTHON names {given}, which is no program: "
            "name a Python, or unset the variable."
        )
    error = _prove(Path(path), environment.proof)
    if error:
        raise Problem(
            f"YOLOWATCH_TRAINER_PYTHON names {given}, in which {name} does not import ({error}): "
            "install the trainer there, name another Python, or unset the variable."
        )
    return Path(given)


def installed_python(minor: int) -> Path | None:
    """A Python 3.`minor` of this machine that starts: on PATH, or among pyenv's versions."""
    found = shutil.which(f"python3.{minor}")
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    for path in [found, *sorted(pyenv.glob(f"versions/3.{minor}.*/bin/python"))]:
        if path and subprocess.run([path, "-c", ""], stderr=subprocess.DEVNULL).returncode == 0:
            return Path(path)
    return None


def _interpreter(name: str, environment: Environment) -> tuple[Path, str]:
    """The interpreter to build on, outside any virtual environment, and its version as "3.11"."""
    newest = environment.newest_minor
    minor = sys.version_info.minor
    own = Path(getattr(sys, "_base_executable", None) or sys.executable)
    if newest is None or minor <= newest:
        return own, f"3.{minor}"
    for older in range(newest, 9, -1):
        path = installed_python(older)
        if path:
            return path, f"3.{older}"
    raise Problem(
        f"{name} does not run on a Python newer than 3.{newest} and none so old is here: "
        f"install python3.{newest}, or name one that has {name} in YOLOWATCH_TRAINER_PYTHON."
    )


def _digest(recipe: object) -> str:
    return hashlib.sha256(repr(recipe).encode()).hexdigest()[:8]


def _is_ready(folder: Path) -> bool:
    """Whether the environment was finished and its interpreter is still installed."""
    if not (folder / "ready").exists():
        return False
    try:
        return subprocess.run([folder / "bin" / "python", "-c", ""]).returncode == 0
    except OSError:
        return False


def _new_venv(folder: Path, interpreter: Path) -> None:
    """A fresh virtual environment in place of whatever half-built one stands there."""
    if folder.exists():
        _say(f"{folder.name}: unfinished, or its Python is gone; building it anew")
        (folder / "ready").unlink(missing_ok=True)
        shutil.rmtree(folder)
    made = subprocess.run(
        [interpreter, "-m", "venv", folder],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if made.returncode:
        raise Problem(
            f"{interpreter} cannot make a virtual environment ({_last_line(made.stdout)}): "
            "install its venv module (Debian: python3-venv, or run 'make deps' as root)."
        )


def _build_base(folder: Path, interpreter: Path) -> None:
    free = shutil.disk_usage(folder.parent).free
    if free < TORCH_NEEDS_BYTES:
        raise Problem(
            f"{folder.parent} has {free / 1e9:.1f} GB free and torch needs "
            f"{TORCH_NEEDS_BYTES / 1e9:.1f} GB: make room, or name a folder in YOLOWATCH_CACHE."
        )
    _new_venv(folder, interpreter)
    try:
        _pip_install(folder, TORCH_PAIR)
    except Problem as problem:
        if "No matching distribution" not in str(problem):
            raise
        _say(f"{folder.name}: no {' '.join(TORCH_PAIR)} for this Python; taking the newest pair")
        _pip_install(folder, ANY_TORCH_PAIR)
    error = _prove(folder / "bin" / "python", PROVE_TORCH)
    if error:
        raise Problem(
            f"torch and torchvision were installed in {folder} but do not work together ({error}): "
            "see which pair pip chose there, or name a Python in YOLOWATCH_TRAINER_PYTHON."
        )
    (folder / "ready").touch()


def _build_layer(folder: Path, interpreter: Path, base: Path, environment: Environment) -> None:
    _new_venv(folder, interpreter)
    python = folder / "bin" / "python"
    (_site_packages(python) / "base.pth").write_text(f"{_site_packages(base / 'bin' / 'python')}\n")
    _pip_install(folder, environment.requirements)
    error = _prove(python, environment.proof)
    if _missing_library(error):
        _use_headless_opencv(folder)
        error = _prove(python, environment.proof)
    if error:
        library = _missing_library(error)
        cure = f"pin in {Path(__file__).name} what stopped fitting together"
        if library:
            package = LIBRARIES.get(library, f"package that has {library}")
            cure = f"install Debian's {package} (run 'make deps' as root)"
        raise Problem(f"{folder.name} was installed but does not import ({error}): {cure}.")
    (folder / "ready").touch()


def _use_headless_opencv(folder: Path) -> None:
    """OpenCV without its windows, which nothing here opens, needs no library of the system."""
    python = folder / "bin" / "python"
    question = "from importlib.metadata import version; print(version('opencv-python'))"
    answer = subprocess.run([python, "-c", question], capture_output=True, text=True)
    if answer.returncode == 0:
        _say(f"{folder.name}: this machine has no libGL or GLib; taking OpenCV's headless build")
        subprocess.run(
            [python, "-m", "pip", "uninstall", "-qy", "opencv-python"], stdout=sys.stderr
        )
        headless = f"opencv-python-headless=={answer.stdout.strip()}"
        _pip_install(folder, ["--no-deps", "--force-reinstall", headless])


def _pip_install(folder: Path, requirements: Sequence[str]) -> None:
    log = folder / "pip.log"
    # Compiling every module ahead would take as long again; an import compiles what it needs.
    options = ["--disable-pip-version-check", "--progress-bar", "off", "--no-compile"]
    pip: list[str | Path] = [folder / "bin" / "python", "-m", "pip", "install"]
    status = _watched([*pip, *options, *requirements], log, folder.name)
    if status:
        lines = log.read_text(errors="replace").splitlines()
        errors = [line for line in lines if line.startswith("ERROR:")] or lines
        cause = _last_line("\n".join(errors)).removeprefix("ERROR:").strip()
        raise Problem(
            f"pip could not install {' '.join(requirements)} ({cause}): "
            f"see {log}, check that pip reaches its package index, and run this again."
        )


def _watched(command: Sequence[str | Path], log: Path, title: str) -> int:
    """Runs a long command into `log`, saying every few seconds where it is; its exit status."""
    started = time.monotonic()
    with log.open("ab") as output:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
        )
        try:
            while True:
                try:
                    return process.wait(SECONDS_BETWEEN_PROGRESS)
                except subprocess.TimeoutExpired:
                    at = _last_line(log.read_text(errors="replace"))
                    _say(f"{title}: {time.monotonic() - started:3.0f} s: {at[:90]}")
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait()


def _prove(python: Path, proof: str) -> str:
    """Runs the proof in this Python, with no user's settings; its error's last line, or ""."""
    with tempfile.TemporaryDirectory() as scratch:
        result = subprocess.run(
            [python, "-c", proof],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | trainer_variables(Path(scratch)),
            cwd=scratch,
        )
    if result.returncode == 0:
        return ""
    return _last_line(result.stderr) or f"exit status {result.returncode}"


def _missing_library(error: str) -> str:
    found = re.search(r"(\S+): cannot open shared object file", error)
    return found.group(1) if found else ""


def _site_packages(python: Path) -> Path:
    question = "import sysconfig; print(sysconfig.get_path('purelib'))"
    return Path(subprocess.check_output([python, "-c", question], text=True).strip())


# ---------------------------------------------------------------- Debian's tools


def _unpack(package: str, unpacked: Path) -> None:
    """Downloads a Debian package with lists of our own, as any user, and unpacks it."""
    cure = f"install Debian's package {package}, or put its programs on PATH"
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        raise Problem(f"{package} is not installed and this is no Debian to take it from: {cure}.")
    apt = unpacked.with_name("apt")
    (apt / "lists" / "partial").mkdir(parents=True, exist_ok=True)
    (apt / "archives" / "partial").mkdir(parents=True, exist_ok=True)
    options = [
        "-q",
        f"-oDir::State::Lists={apt / 'lists'}",
        f"-oDir::Cache={apt}",
        "-oAPT::Sandbox::User=",
        "-oAPT::Update::Post-Invoke::=",
    ]
    with tempfile.TemporaryDirectory(dir=unpacked.parent) as scratch:
        _say(f"{package}: downloading Debian's package lists and the package")
        log = apt / "apt.log"
        # Lists of other vendors may be out of reach; whether the download works is what counts.
        _watched(["apt-get", *options, "update"], log, package)
        script = 'cd "$1" && shift && exec apt-get "$@"'
        download = ["sh", "-c", script, "sh", scratch, *options, "download", package]
        status = _watched(download, log, package)
        archives = list(Path(scratch).glob("*.deb"))
        if status or len(archives) != 1:
            cause = _last_line(log.read_text(errors="replace"))
            raise Problem(f"apt-get could not download {package} ({cause}; see {log}): {cure}.")
        contents = Path(scratch) / "contents"
        if subprocess.run(["dpkg-deb", "-x", archives[0], contents], stdout=sys.stderr).returncode:
            raise Problem(f"dpkg-deb could not unpack {package}: free disk space, or {cure}.")
        contents.rename(unpacked)


# ---------------------------------------------------------------- shared


def _cache(room: str) -> Path:
    given = os.environ.get("YOLOWATCH_CACHE")
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = (Path(given) if given else Path(home) / "yolowatch").expanduser().absolute() / room
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Problem(
            f"{folder} cannot be made ({error.strerror}): name another one in YOLOWATCH_CACHE."
        ) from error
    return folder


@contextlib.contextmanager
def _lock(path: Path) -> Iterator[None]:
    with path.open("a") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _say(f"another process is building in {path.parent}; waiting for it")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _last_line(text: str) -> str:
    """The last line that says something; pip's and apt's warnings do not."""
    lines = [line.strip() for line in text.splitlines()]
    telling = [line for line in lines if line and not line.startswith(("WARNING:", "W:"))]
    return telling[-1] if telling else ""


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(
        description="Print the path of a trainer's Python or of a tool, building it if needed.",
        epilog=f"trainers: {', '.join(ENVIRONMENTS)}; tools: {', '.join(TOOLS)}",
    )
    parser.add_argument("name", choices=[*ENVIRONMENTS, *TOOLS], metavar="NAME")
    name = parser.parse_args().name
    try:
        print(trainer_python(name) if name in ENVIRONMENTS else debian_tool(*TOOLS[name]))
    except Problem as problem:
        _say(f"environments: {problem}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
