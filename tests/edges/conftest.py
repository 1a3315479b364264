"""What several edges' tests build on."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

WriteCheckpoint = Callable[..., Path]


@pytest.fixture
def write_checkpoint() -> WriteCheckpoint:
    """Writes a file laid out as `torch.save` does, without torch."""

    def write(
        path: Path, *, facts: bytes = b"\x80\x02}q\x00.", tensor: bytes = b"\7" * 5000
    ) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
            archive.writestr("archive/data.pkl", facts)
            archive.writestr("archive/byteorder", b"little")
            archive.writestr("archive/data/0", tensor)
            archive.writestr("archive/version", b"3\n")
        return path

    return write
