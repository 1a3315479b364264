"""A real systemd: a small Debian that is booted in a container, with this yolowatch in it.

The root directory is built once into the cache; each machine is a copy of it that shares what it
does not change, and is removed with the test.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.environments import _cache, _lock, _say
from tests.hands.strangers import settle
from tests.memory_group import memory_group

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = "systemd,systemd-sysv,dbus,python3,procps,iproute2"
USERS = """\
yolowatch:x:990:990::/nonexistent:/usr/sbin/nologin
alice:x:1001:1001::/home/alice:/bin/sh
bob:x:1002:1002::/home/bob:/bin/sh
"""
MEMORY = "/sys/fs/cgroup/memory"
_PACKAGES: list[Path] = []


def missing() -> str | None:
    """What a machine needs and this one lacks."""
    if os.geteuid() != 0:
        return "needs root"
    lacks = [name for name in ("systemd-nspawn", "debootstrap") if shutil.which(name) is None]
    return f"no {' and no '.join(lacks)}: make deps" if lacks else None


@dataclass
class Machine:
    """A booted machine; `leader` is its pid 1 as this machine numbers it."""

    root: Path
    leader: int

    def run(self, command: str, *, check: bool = True) -> str:
        """What a shell command prints in there, as root."""
        done = subprocess.run(
            [*("nsenter", "-t", str(self.leader), "-m", "-u", "-i", "-n", "-p", "-C", "-r", "-w"),
             "--", "/bin/sh", "-c", command],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"},
        )  # fmt: skip
        assert done.returncode == 0 or not check, f"{command}\n{done.stdout}"
        return done.stdout

    def says(self, command: str) -> bool:
        """Whether a command ends well in there."""
        return self.run(f"{command} >/dev/null 2>&1 && echo yes", check=False).endswith("yes\n")

    def limits_hold(self) -> bool:
        """Whether the kernel holds a unit in there to its MemoryMax=."""
        fills = "python3 -c 'b\"x\" * (1 << 27)'"
        return not self.says(f"systemd-run -q --wait -p MemoryMax=64M {fills}")

    def write(self, path: str, text: str, mode: int = 0o644) -> None:
        target = self.root / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
        target.chmod(mode)


def built() -> Path:
    """The Debian package of this tree, built once a session."""
    if not _PACKAGES:
        done = subprocess.run(
            ["make", "-C", ROOT, "--no-print-directory", "package"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout
        _PACKAGES.append(ROOT / done.stdout.split()[-1])
    return _PACKAGES[0]


def unpacked(root: Path) -> None:
    """The package's files without its scripts: nothing is enabled, the users are made here."""
    subprocess.run(["dpkg-deb", "-x", built(), root], check=True)
    with_users(root, USERS)


def carried(root: Path) -> None:
    """The package lies in the machine, to be installed there."""
    shutil.copy(built(), root / "root/yolowatch.deb")
    with_users(root, USERS.partition("\n")[2])


def with_users(root: Path, users: str) -> None:
    with (root / "etc/passwd").open("a") as passwd, (root / "etc/group").open("a") as groups:
        passwd.write(users)
        for line in users.splitlines():
            name, _, uid, *_ = line.split(":")
            groups.write(f"{name}:x:{uid}:\n")
            if int(uid) > 1000:
                home = root / "home" / name
                home.mkdir(parents=True)
                os.chown(home, int(uid), int(uid))


@contextlib.contextmanager
def machine(
    prepare: Callable[[Path], None] = unpacked, shown: Sequence[Path] = ()
) -> Iterator[Machine]:
    """Boot one whose root directory was prepared; nothing of yolowatch is started.

    It sees the directories `shown` of this machine, at the same paths and read-only. Where this
    machine lets it, limits of memory hold in there: see `limits_hold`.
    """
    base = _base()
    parts = tempfile.TemporaryDirectory(prefix="yolowatch-machine-", dir=base.parent)
    with parts as folder, memory_group(None) as group:
        root = Path(folder, "root")
        within = "true" if group is None else f"echo $$ > {group}/cgroup.procs"
        subprocess.run(["cp", "-a", "--reflink=auto", base, root], check=True)
        prepare(root)
        log = Path(folder, "log")
        with log.open("wb") as output:
            container = subprocess.Popen(
                [*("sh", "-c", f'{within}; exec "$@"', "sh"),
                 *("systemd-nspawn", "-D", str(root), "--boot", "--register=no", "--keep-unit"),
                 *("--private-network", "--console=read-only", f"--machine=yw{os.getpid()}"),
                 *(f"--bind-ro={path}" for path in shown)],
                stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True,
            )  # fmt: skip
        try:
            settle(lambda: _child_of(container.pid) is not None or container.poll() is not None)
            leader = _child_of(container.pid)
            assert leader is not None, log.read_text()
            booted = Machine(root, leader)
            settle(lambda: booted.says("systemctl is-active dbus.socket"), 60)
            if group is not None and booted.says(f"test -d {MEMORY}"):
                # Version 1 is not given to a container; this one's part of it is its own.
                booted.run(f"mount -o remount,bind,rw {MEMORY} && systemctl daemon-reexec")
            yield booted
        finally:
            container.terminate()  # asks the machine to power off
            try:
                container.wait(30)
            except subprocess.TimeoutExpired:
                container.kill()
                container.wait()


def _base() -> Path:
    base = _cache("machines") / "bookworm"
    with _lock(base.with_name("lock")):
        if not base.is_dir():
            _say("building a Debian for the tests of systemd, about a minute")
            half = base.with_name("bookworm.half")
            shutil.rmtree(half, ignore_errors=True)
            subprocess.run(
                ["debootstrap", "--variant=minbase", f"--include={PACKAGES}", "bookworm", half],
                check=True, stdout=sys.stderr,
            )  # fmt: skip
            half.rename(base)
    return base


def _child_of(pid: int) -> int | None:
    """The machine's pid 1, once nspawn has started it."""
    with contextlib.suppress(OSError):
        for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            if Path(f"/proc/{word}/comm").read_text() == "systemd\n":  # others help it to start
                return int(word)
    return None
