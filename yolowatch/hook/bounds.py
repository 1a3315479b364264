"""The types of the wire format's fields: each knows its bounds, on the way in and on the way out.

`read` refuses what is of another type or out of bounds; `clip` makes a value of our own fit.
"""

COUNT_MAX = 1 << 53


class WireError(ValueError):
    """A message that is not of this format; the text says in a few words why."""


class Int:
    """An integer from `low` to `high`."""

    def __init__(self, low=0, high=COUNT_MAX):
        self.low, self.high = low, high

    def read(self, value):
        if type(value) is not int:
            raise WireError("not an integer")
        if not self.low <= value <= self.high:
            raise WireError("out of bounds")
        return value

    def clip(self, value):
        return min(max(int(value), self.low), self.high)


class Float:
    """A finite number from `low` to `high`."""

    def __init__(self, low=0.0, high=1e18):
        self.low, self.high = low, high

    def read(self, value):
        if type(value) not in (int, float):
            raise WireError("not a number")
        if not self.low <= value <= self.high:  # also refuses NaN
            raise WireError("out of bounds")
        return float(value)

    def clip(self, value):
        return self.read(float(value))


def _is_plain(c):
    return (c >= " " or c in "\n\t") and not "\ud800" <= c <= "\udfff"


class Str:
    """Text of at most `limit` characters."""

    def __init__(self, limit):
        self.limit = limit

    def read(self, value):
        if type(value) is not str:
            raise WireError("not a string")
        if len(value) > self.limit:
            raise WireError("string too long")
        # What `clip` never sends: a zero byte in a path, half a character that no file can hold.
        if not all(map(_is_plain, value)):
            raise WireError("not plain text")
        return value

    def clip(self, value):
        # Bytes as JSON writes them are counted, not characters, so that a message of clipped fields
        # always fits; control characters would take six, a lone surrogate has no UTF-8 form.
        text, size = [], 0
        for c in str(value)[: self.limit]:
            c = c if _is_plain(c) else "?"
            size += 2 if c in '"\\\n\t' else len(c.encode("utf-8"))
            if size > self.limit:
                break
            text.append(c)
        return "".join(text)


class Bool:
    """A truth value."""

    def read(self, value):
        if type(value) is not bool:
            raise WireError("not a truth value")
        return value

    def clip(self, value):
        return bool(value)


class List:
    """Up to `limit` items of one type."""

    def __init__(self, item, limit):
        self.item, self.limit = item, limit

    def read(self, value):
        if type(value) is not list:
            raise WireError("not a list")
        if len(value) > self.limit:
            raise WireError("list too long")
        return [self.item.read(each) for each in value]

    def clip(self, value):
        return [self.item.clip(each) for each in list(value)[: self.limit]]


class Record:
    """A list of fixed length whose items have types of their own; JSON null stands for unknown."""

    def __init__(self, *items):
        self.items = items

    def read(self, value):
        if type(value) is not list or len(value) != len(self.items):
            raise WireError("not a record of %d" % len(self.items))
        return [None if v is None else t.read(v) for t, v in zip(self.items, value)]

    def clip(self, value):
        return [None if v is None else t.clip(v) for t, v in zip(self.items, value)]


class Choice:
    """One of a closed set of words."""

    def __init__(self, words):
        self.words = words

    def read(self, value):
        if value not in self.words:
            raise WireError("no such word")
        return value

    clip = read
