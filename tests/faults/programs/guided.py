"""Fuzzes the wire format and the fold, guided by coverage: atheris looks for what raises.

python guided.py CORPUS [options of libFuzzer]
"""

import sys

import atheris

with atheris.instrument_imports(include=["yolowatch.hook", "yolowatch.model.fold", "json"]):
    from yolowatch.hook import wire
    from yolowatch.model import fold
    from yolowatch.model.run import RunState


def one(data):
    try:
        kind, fields = wire.decode(data)
    except wire.WireError:
        return
    state = fold.fold(RunState(0), kind, fields, 1.0)
    fold.fold(state, kind, fields, 2.0)


atheris.Setup(sys.argv, one)
atheris.Fuzz()
