"""Gives a constant in the source of a function another value, in memory only.

For what a trainer offers no option for. The function's source is read again and must compile to
exactly what the function is now; then it is compiled once more with the one assignment changed. No
file is written, and a source that is not what it is expected to be is left alone.
"""

import __future__

import ast
import tokenize

_FUTURES = 0
for _name in __future__.all_feature_names:
    _FUTURES |= getattr(__future__, _name).compiler_flag


def replace(function, name, value):
    """Let the outermost function of a module assign `value` to `name` where it assigns a number.

    Raises LookupError, in words, if it does not do that exactly once, and OSError or SyntaxError
    where the source cannot be read.
    """
    code = function.__code__
    with tokenize.open(code.co_filename) as file:
        tree = ast.parse(file.read(), code.co_filename)
    found = [
        node
        for node in tree.body
        if isinstance(node, ast.FunctionDef) and node.name == code.co_name
    ]
    if len(found) != 1 or _compiled(tree, code) != code:
        raise LookupError("the source of %s is not what runs" % code.co_name)
    assigned = [node for node in ast.walk(found[0]) if _assigns(node, name)]
    if len(assigned) != 1 or not _is_number(assigned[0]):
        raise LookupError(
            "%s assigns %s %d times or no number" % (code.co_name, name, len(assigned))
        )
    statement = assigned[0]
    statement.value = ast.copy_location(ast.Constant(value), statement.value)  # type: ignore[attr-defined]
    function.__code__ = _compiled(tree, code)


def _compiled(tree, code):
    """The code object of the function in its module: how a name is called depends on its import."""
    flags = code.co_flags & _FUTURES
    module = compile(tree, code.co_filename, "exec", flags=flags, dont_inherit=True)
    found = (c for c in module.co_consts if getattr(c, "co_name", None) == code.co_name)
    return next(found, None)


def _assigns(node, name):
    if isinstance(node, ast.Assign):
        targets = node.targets
    elif isinstance(node, (ast.AugAssign, ast.AnnAssign, ast.For, ast.NamedExpr)):
        targets = [node.target]
    else:
        return False
    named = [each for target in targets for each in ast.walk(target)]
    return any(isinstance(each, ast.Name) and each.id == name for each in named)


def _is_number(node):
    plain = isinstance(node, ast.Assign) and len(node.targets) == 1
    if not plain or not isinstance(node.targets[0], ast.Name):
        return False
    return isinstance(node.value, ast.Constant) and type(node.value.value) in (int, float)
