"""NVML through the real pynvml, with a C library in the driver's place."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from yolowatch.edges.nvml import NoNvml, open_nvml

GIB = 1024**3
SOURCE = Path(__file__).with_name("nvml_stand_in.c")
PROGRAM = """
import dataclasses, json, os, sys
from yolowatch.edges.nvml import open_nvml

nvml = open_nvml()
rounds = []
for _ in range(1 + len(sys.argv[1:])):
    rounds.append({
        "kind": type(nvml).__name__,
        "devices": [dataclasses.asdict(each) for each in nvml.devices()],
        "reason": nvml.reason,
        "processes": [
            None if found is None else [[each.pid, each.used_bytes] for each in found]
            for found in (nvml.processes(0), nvml.processes(1))
        ],
    })
    if sys.argv[len(rounds):]:
        os.replace(sys.argv[len(rounds)], os.environ["NVML_STAND_IN"])
nvml.close()
nvml.close()
print(json.dumps(rounds))
"""
TWO_GPUS = {
    "count": 2,
    "0.total": 24 * GIB,
    "0.used": 3 * GIB,
    "0.reserved": GIB,
    "0.util": 55,
    "0.temp": 61,
    "0.mw": 250500,
    "0.mwlimit": 300000,
    "0.reasons": 0x04 | 0x40 | 0x01,
    "0.ecc": "3:0",
    "0.procs": f"100:{2 * GIB},200:{2**64 - 1}",
    "1.total": 8 * GIB,
}
Ask = Callable[..., list[dict[str, Any]]]


def build(directory: Path, *flags: str) -> Path:
    directory.mkdir()
    library = directory / "libnvidia-ml.so.1"
    command = ["gcc", "-Wall", "-Werror", "-shared", "-fPIC", *flags, "-o", library, SOURCE]
    subprocess.run(command, check=True)
    return directory


@pytest.fixture(scope="module")
def drivers(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    if shutil.which("gcc") is None:
        pytest.skip("gcc, which builds the stand-in for NVIDIA's library, is not installed")
    base = tmp_path_factory.mktemp("nvml")
    return {"new": build(base / "new"), "old": build(base / "old", "-DOLD_DRIVER")}


@pytest.fixture
def ask(drivers: Mapping[str, Path], tmp_path: Path) -> Ask:
    """Readings of a fresh process, one for each state that is given."""

    def run(*states: Mapping[str, object], driver: str = "new") -> list[dict[str, Any]]:
        paths = []
        for number, state in enumerate(states):
            paths.append(tmp_path / f"state{number}")
            paths[-1].write_text("".join(f"{name}={value}\n" for name, value in state.items()))
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, *map(str, paths[1:])],
            env={
                "PYTHONPATH": os.pathsep.join(sys.path),
                "LD_LIBRARY_PATH": str(drivers[driver]),
                "NVML_STAND_IN": str(paths[0]),
            },
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        rounds: list[dict[str, Any]] = json.loads(done.stdout)
        return rounds

    return run


def test_two_gpus(ask: Ask) -> None:
    (reading,) = ask(TWO_GPUS)
    first, second = reading["devices"]
    assert first == {
        "index": 0,
        "uuid": "GPU-0",
        "name": "Stand-in GPU",
        "total_bytes": 24 * GIB,
        "used_bytes": 3 * GIB,
        "reserved_bytes": GIB,
        "free_bytes": 20 * GIB,
        "utilization_ratio": 0.55,
        "temperature_celsius": 61.0,
        "power_watts": 250.5,
        "power_limit_watts": 300.0,
        "throttled": ["power-cap", "thermal-hardware"],
        "ecc": {"corrected": 3, "uncorrected": 0},
        "xids": 0,
        "last_xid": None,
        "answers": True,
        "users": None,
        "problems": [],
    }
    assert second["free_bytes"] == 8 * GIB
    unsupported = ("power_limit_watts", "throttled")
    assert [second[name] for name in unsupported] == [None, None]
    assert second["ecc"] == {"corrected": None, "uncorrected": None}
    assert second["problems"] == [], "what few boards have is not missed"
    assert reading["processes"] == [[[100, 2 * GIB], [200, None]], []]
    assert reading["reason"] is None


def test_an_old_driver_tells_no_reserved_memory(ask: Ask) -> None:
    (reading,) = ask(TWO_GPUS, driver="old")
    first = reading["devices"][0]
    assert first["reserved_bytes"] is None
    assert first["used_bytes"] == 4 * GIB
    assert first["free_bytes"] == 20 * GIB
    assert (first["throttled"], first["xids"]) == (None, None)
    assert first["ecc"] == {"corrected": None, "uncorrected": None}
    assert first["problems"] == []


def test_what_one_call_refuses_is_unknown_and_takes_nothing_with_it(ask: Ask) -> None:
    state = {
        **TWO_GPUS,
        "0.error.nvmlDeviceGetPowerUsage": 3,
        "0.error.nvmlDeviceGetMemoryInfo": 4,
        "0.error.nvmlDeviceGetMemoryInfo_v2": 4,
        "0.error.nvmlDeviceGetComputeRunningProcesses_v3": 4,
    }
    (reading,) = ask(state)
    first = reading["devices"][0]
    unknown = ("power_watts", "total_bytes", "used_bytes", "reserved_bytes", "free_bytes")
    assert {name: first[name] for name in unknown} == dict.fromkeys(unknown)
    assert first["temperature_celsius"] == 61.0
    assert first["problems"] == [
        "memory cannot be read: Insufficient Permissions",
        "power cannot be read: Not Supported",
    ]
    assert reading["processes"][0] is None
    assert reading["processes"][1] == []


def test_a_gpu_that_is_lost_while_it_is_watched(ask: Ask) -> None:
    before, lost, all_lost = ask(
        TWO_GPUS, {**TWO_GPUS, "0.error": 15}, {**TWO_GPUS, "error.count": 15}
    )
    assert before["devices"][0]["used_bytes"] == 3 * GIB
    assert lost["devices"][0]["used_bytes"] is None
    assert lost["devices"][0]["problems"] == ["the GPU cannot be read: GPU is lost"]
    assert [each["answers"] for each in lost["devices"]] == [False, True]
    assert lost["devices"][1]["total_bytes"] == 8 * GIB
    assert lost["processes"][0] is None
    assert all_lost["devices"] == []
    assert all_lost["reason"] == "the number of GPUs cannot be read: GPU is lost"


def test_a_lost_gpu_that_the_driver_still_knows_by_name(ask: Ask) -> None:
    lost = {**TWO_GPUS, "0.error": 15, "0.error.handle": 0}
    (reading,) = ask(lost)
    assert [each["answers"] for each in reading["devices"]] == [False, True]


def test_critical_errors_are_counted_and_the_newest_is_named(ask: Ask) -> None:
    before, one, same, two = ask(
        TWO_GPUS | {"xid": "13@0#1"},
        TWO_GPUS | {"xid": "79@1#2"},
        TWO_GPUS | {"xid": "79@1#2"},
        TWO_GPUS | {"xid": "31@1#3"},
    )
    seen = [
        [(each["xids"], each["last_xid"]) for each in reading["devices"]]
        for reading in (before, one, same, two)
    ]
    assert seen == [
        [(0, None), (0, None)],  # what had happened before was not listened for
        [(0, None), (1, 79)],
        [(0, None), (1, 79)],
        [(0, None), (2, 31)],
    ]


def test_a_gpu_that_tells_of_no_errors_has_no_count(ask: Ask) -> None:
    (reading,) = ask(TWO_GPUS | {"0.error.nvmlDeviceRegisterEvents": 3})
    assert [each["xids"] for each in reading["devices"]] == [None, 0]


def test_a_driver_that_does_not_start(ask: Ask) -> None:
    (reading,) = ask({"init": 9})
    assert reading["kind"] == "NoNvml"
    assert reading["devices"] == []
    assert reading["processes"] == [None, None]
    assert "no NVIDIA driver can be asked: " in reading["reason"]


HANGING = """
import os, sys, threading, time
from tests.daemon.parts import FakeClock
from yolowatch.daemon.devices import Devices
from yolowatch.edges.nvml import open_nvml

clock, nvml, beats = FakeClock(), open_nvml(), []
devices = Devices(nvml, clock, 0.01, beat=lambda: beats.append(1))
threading.Thread(target=devices.work, daemon=True).start()
while not devices.readings():
    time.sleep(0.01)
os.replace(sys.argv[1], os.environ["NVML_STAND_IN"])
before = -1
while len(beats) != before:  # until the thread hangs
    before = len(beats)
    time.sleep(0.5)
clock.sleep(60)
print(devices.readings(), devices.answers)
began = time.monotonic()
devices.close()
nvml.close()
print(time.monotonic() - began < 20)
os.replace(sys.argv[2], os.environ["NVML_STAND_IN"])
while len(beats) == before:
    time.sleep(0.01)
print(len(devices.readings()))
"""


def test_a_driver_that_hangs_holds_nobody_but_its_thread(
    drivers: Mapping[str, Path], tmp_path: Path
) -> None:
    states = (TWO_GPUS, {**TWO_GPUS, "hang": 1}, TWO_GPUS)
    for number, state in enumerate(states):
        lines = "".join(f"{name}={value}\n" for name, value in state.items())
        (tmp_path / f"state{number}").write_text(lines)
    done = subprocess.run(
        [sys.executable, "-c", HANGING, tmp_path / "state1", tmp_path / "state2"],
        env={
            "PYTHONPATH": os.pathsep.join(["", *sys.path]),
            "LD_LIBRARY_PATH": str(drivers["new"]),
            "NVML_STAND_IN": str(tmp_path / "state0"),
        },
        cwd=Path(__file__).resolve().parents[2],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stdout.splitlines() == ["() False", "True", "2"], done.stderr


def test_no_gpu_is_not_no_driver(ask: Ask) -> None:
    (reading,) = ask({"count": 0})
    assert reading["devices"] == []
    assert reading["reason"] is None


def test_this_machine_whatever_it_has() -> None:
    nvml = open_nvml()
    if isinstance(nvml, NoNvml):
        assert nvml.reason
        assert nvml.devices() == ()
        assert nvml.processes(0) is None
    else:
        for each in nvml.devices():
            assert each.total_bytes is None or each.total_bytes > 0
            assert each.name
    nvml.close()
