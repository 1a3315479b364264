"""Draws `yolowatch top`: from its state to what rich shows; nothing is read and nothing waits.

Everything said in colour is said in a word or a sign too. Texts are never markup: they come from
trainings, and are made harmless first.
"""

from __future__ import annotations

from rich.console import Group
from rich.table import Table
from rich.text import Text

from yolowatch.commands import status_page
from yolowatch.commands.top_state import Top, share_free
from yolowatch.model.printable import printable
from yolowatch.model.quantity import bytes_text
from yolowatch.model.view import DeviceView, RunView

_KEYS = "↑↓ select  Enter inspect  / filter  s sort  q quit"
_KEYS_INSPECTING = "↑↓ next run  Esc back  q quit"
Part = Text | Table

_TIGHT, _NARROW = 0.05, 0.15  # of the capacity
_BAR = 11
_INCIDENTS = 5
_WIDE = 110  # columns from which on there is room for more


def draw(top: Top, width: int, height: int, unicode: bool) -> Group:
    """The whole screen, of so many columns and lines."""
    parts: list[Part] = _head(top, unicode)
    current = top.current()
    if top.inspecting and current is not None:
        shown = top.inspected or current
        body = Text(status_page.one(shown)).split("\n")
        parts += body[: max(height - len(parts) - 2, 1)]
    else:
        parts += _overview(top, current, width, height - len(parts) - 2, unicode)
    used = sum(each.row_count + 1 if isinstance(each, Table) else 1 for each in parts)
    parts += [Text("")] * max(height - used - 1, 0)
    return Group(*parts, _footer(top))


def _head(top: Top, unicode: bool) -> list[Part]:
    lines: list[Part] = []
    if top.trouble is not None:
        lines.append(_line(top.trouble, "bold red"))
    if top.view is None:
        return lines or [_line("asking the daemon …")]
    said = status_page.head(top.view)
    lines.append(_line(said[0], "bold yellow" if top.view.paused else "bold"))
    lines += [_line(each, "yellow") for each in said[1 : len(said) - len(top.view.devices)]]
    return lines + [_gpu(each, unicode) for each in top.view.devices]


def _gpu(reading: DeviceView, unicode: bool) -> Text:
    used, total = reading.used_bytes, reading.total_bytes
    line = _bar(None if used is None or not total else used / total, unicode)
    line.append(" " + status_page.device(reading))
    return _cut(line)


def _overview(
    top: Top, current: RunView | None, width: int, height: int, unicode: bool
) -> list[Part]:
    rows = top.rows()
    if top.view is not None and not rows:
        what = "no run passes the filter" if top.filter else "no trainings of yours are watched"
        return [Text(""), _line(what)]
    incidents = _incidents(rows)
    # The table has a line of names; the selected row stays in sight.
    room = max(height - len(incidents) - 2, 1)
    place = rows.index(current) if current in rows else 0
    first = max(0, min(place - room // 2, len(rows) - room))
    table = _table(width)
    for run in rows[first : first + room]:
        table.add_row(*_cells(run, run == current, width, unicode), style=_style(run))
    return [Text(""), table, *incidents] if rows else []


def _table(width: int) -> Table:
    table = Table(
        box=None, expand=width >= _WIDE, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold"
    )
    columns = [("  run", 10), ("user", 8), ("state", 10), ("mode", 9), ("epoch", 7)]
    columns += [("batch", 6), ("memory", _BAR), ("headroom", 11)]  # 79 with what is between
    for name, size in columns:
        wide = size + 10 if name == "state" and width >= _WIDE else size
        table.add_column(name, width=wide, no_wrap=True, overflow="ellipsis")
    if width >= _WIDE:
        table.add_column("model", ratio=1, no_wrap=True, overflow="ellipsis")
        table.add_column("directory", ratio=2, no_wrap=True, overflow="ellipsis")
    return table


def _cells(run: RunView, selected: bool, width: int, unicode: bool) -> list[Text]:
    share = share_free(run)
    tight = "!" if share is not None and share < _TIGHT else ""
    free = run.memory.headroom_bytes
    texts = [
        f"{'>' if selected else ' '} {printable(run.run, 8)}",
        printable(run.user or str(run.uid), 16),
        status_page.state(run) if width >= _WIDE else _short_state(run),
        printable(run.mode, 12),
        status_page.epochs(run),
        status_page.batch(run).replace(" × ", "x"),
    ]
    cells = [Text(each) for each in texts]
    cells.append(_bar(None if share is None else 1 - share, unicode))
    cells.append(Text(tight + ("-" if free is None else bytes_text(free))))
    if width >= _WIDE:
        cells.append(Text(printable(run.model or "-", 60)))
        cells.append(Text(printable(run.run_dir or "-", 120)))
    return cells


def _short_state(run: RunView) -> str:
    if run.paused:
        return "paused"
    return {"waiting for approval": "approve?", "observed only": "observed"}.get(
        run.state, printable(run.state, 12)
    )


def _style(run: RunView) -> str:
    if run.state in ("failed", "waiting for approval"):
        return "yellow"
    return "dim" if run.state in ("finished", "stopped") else ""


def _bar(used: float | None, unicode: bool) -> Text:
    """How much is used; question marks where that is unknown, which is not nothing."""
    if used is None:
        return Text("?" * _BAR, "dim")
    full, rest = ("█", "░") if unicode else ("#", ".")
    count = round(min(max(used, 0.0), 1.0) * _BAR)
    free = 1 - used
    colour = "red" if free < _TIGHT else "yellow" if free < _NARROW else "green"
    return Text.assemble((full * count, colour), (rest * (_BAR - count), "dim"))


def _incidents(rows: list[RunView]) -> list[Part]:
    """The newest incidents of the runs that are shown, the open ones first."""
    found = [(each.outcome is not None, run, each) for run in rows for each in run.incidents[-2:]]
    lines: list[Part] = []
    for _, run, each in sorted(found, key=lambda item: item[0])[:_INCIDENTS]:
        line = Text.assemble((f"{printable(run.run, 8)} {printable(each.kind, 16)} ", "bold"))
        line.append(f"{printable(each.outcome or 'open', 120)}: {printable(each.sentence, 300)}")
        lines.append(_cut(line))
    return [Text(""), _line("incidents", "bold"), *lines] if lines else []


def _footer(top: Top) -> Text:
    if top.typing:
        typed = f"filter: {printable(top.filter, 60)}_  (Enter keeps it, Esc clears it)"
        return _cut(Text(typed, "reverse"))
    keys = _KEYS_INSPECTING if top.inspecting else _KEYS
    kept = f"  filter: {printable(top.filter, 20)}" if top.filter else ""
    return _cut(Text(f"{keys}  by {top.sort}{kept}", "reverse"))


def _line(text: str, style: str = "") -> Text:
    return _cut(Text(printable(text, 500), style))


def _cut(line: Text) -> Text:
    """One line of the screen, however long the text is."""
    line.no_wrap, line.overflow = True, "ellipsis"
    return line
