"""`results.csv`, the table to which a trainer adds one row an epoch, its number first."""

from __future__ import annotations


def trim(table: bytes, last: int) -> bytes:
    """The table without the epochs after the one numbered `last`.

    A row that was cut off while it was written is dropped as well. Raises ValueError, a sentence,
    for a table whose first column is not the epoch.
    """
    lines = table.splitlines(keepends=True)
    if not lines:
        return table
    columns = lines[0].split(b",")
    if columns[0].strip() != b"epoch":
        raise ValueError(
            "results.csv does not begin with a column of epochs, so it is not changed."
        )
    kept = [lines[0]]
    for line in lines[1:]:
        cells = line.split(b",")
        epoch = _whole_number(cells[0])
        if len(cells) == len(columns) and epoch is not None and epoch <= last:
            kept.append(line)
    return b"".join(kept)


def _whole_number(cell: bytes) -> int | None:
    try:
        return int(float(cell))
    except (ValueError, OverflowError):
        return None
