"""The hook's import hook beside another one, which asks all finders again as tracers' do."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

import pytest

from tests.programs.in_training import Finder
from yolowatch.hook import arming

NAME = "utils.callbacks"


class Chained:
    """A loader around another one."""

    def __init__(self, loader: Any, seen: list[str]) -> None:
        self.loader, self.seen = loader, seen

    def create_module(self, spec: ModuleSpec) -> Any:
        return self.loader.create_module(spec)

    def exec_module(self, module: Any) -> None:
        self.loader.exec_module(module)
        self.seen.append(module.__name__)


class Chaining:
    """As tracers do: the loader that is found gets another one around it."""

    def __init__(self, seen: list[str]) -> None:
        self.seen, self.asking = seen, False

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if name != NAME or self.asking:
            return None
        self.asking = True
        try:
            spec = importlib.util.find_spec(name)
        finally:
            self.asking = False
        assert spec is not None
        spec.loader = Chained(spec.loader, self.seen)  # type: ignore[assignment]
        return spec


@pytest.mark.parametrize("ours_first", [True, False])
@pytest.mark.parametrize("chained", [True, False])
def test_each_sees_the_module_once(
    ours_first: bool, chained: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "utils").mkdir()
    (tmp_path / "utils" / "__init__.py").touch()
    (tmp_path / "utils" / "callbacks.py").write_text("class Callbacks: pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    for name in (NAME, "utils"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    ours: list[str] = []
    theirs: list[str] = []
    other = (
        Chaining(theirs) if chained else Finder([NAME], lambda each: theirs.append(each.__name__))
    )
    finders = [arming._Finder(), other] if ours_first else [other, arming._Finder()]
    monkeypatch.setattr(sys, "meta_path", [*finders, *sys.meta_path])
    monkeypatch.setattr(arming, "arrived", ours.append)
    monkeypatch.setattr(arming.faults, "armed", True)
    try:
        assert importlib.import_module(NAME).Callbacks
    finally:
        for name in (NAME, "utils"):
            sys.modules.pop(name, None)
    assert (ours, theirs) == ([NAME], [NAME])
