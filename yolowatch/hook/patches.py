"""What the hook has put in the place of something, so that all of it can be taken back.

Whoever replaces an attribute, a name of a program or a function of the interpreter does it through
here. A replacement that somebody else has wrapped since is left where it is: it lets everything
pass once the hook is disarmed, and taking it out would take theirs out as well.
"""

import functools

_MISSING = object()
_undo = []  # in the order in which things were done


def put(owner, name, value):
    """Set an attribute of a class or a module."""
    before = vars(owner).get(name, _MISSING)
    setattr(owner, name, value)
    _undo.append(functools.partial(_restore, owner, name, value, before))


def put_item(namespace, name, value):
    """Set a name in the namespace of a program."""
    before = namespace.get(name, _MISSING)
    namespace[name] = value
    _undo.append(functools.partial(_restore_item, namespace, name, value, before))


def later(function, *arguments):
    """Call this when everything is taken back."""
    _undo.append(functools.partial(_call, function, arguments))


def take_back():
    """Undo everything, the last first; the names of what somebody else has wrapped since."""
    kept = []
    while _undo:
        name = _undo.pop()()
        if name is not None:
            kept.append(name)
    return kept


def _restore(owner, name, ours, before):
    if vars(owner).get(name, _MISSING) is not ours:
        return "%s.%s" % (getattr(owner, "__name__", owner), name)
    if before is _MISSING:
        delattr(owner, name)
    else:
        setattr(owner, name, before)
    return None


def _restore_item(namespace, name, ours, before):
    if namespace.get(name, _MISSING) is not ours:
        return name
    if before is _MISSING:
        del namespace[name]
    else:
        namespace[name] = before
    return None


def _call(function, arguments):
    function(*arguments)
