"""Which refusals a function can raise, read from its code and that of what it calls.

Calls are followed where the types say what is called: by names of a module, by annotations, by what
`__init__` keeps. What only a run can tell (a callable in a table, another thread) is not followed.
"""

import ast
import functools
import inspect
import textwrap
import types
from collections.abc import Callable, Iterator
from typing import Any, get_type_hints

from trimtab_collector.contract.errors import CODES, ApiError

__all__ = ["codes_of"]

_PACKAGE = "trimtab_collector"
Names = dict[str, Any]


def codes_of(function: Callable[..., Any], part: type[Any]) -> frozenset[str]:
    """Return the codes of the refusals that a function may raise; part is its first argument."""
    found: set[str] = set()
    seen: set[tuple[object, object]] = set()
    waiting: list[tuple[Any, Any]] = [(function, part)]
    while waiting:
        asked = waiting.pop()
        if asked in seen:
            continue
        seen.add(asked)
        body = _Body(*asked)
        for call in body.calls():
            # What is given to a call is called by it: that is how work reaches a thread.
            given = [body.resolve(each) for each in call.args]
            waiting += [each for each in given if isinstance(each[0], types.FunctionType)]
            called, owner = body.resolve(call.func)
            if called is ApiError:
                found |= _codes(call)
            elif isinstance(called, type):
                init = called.__dict__.get("__init__")
                waiting += [(init, called)] if isinstance(init, types.FunctionType) else []
            elif isinstance(called, types.FunctionType) and _PACKAGE in called.__module__:
                found |= body.given(call)
                waiting.append((called, owner))
    return frozenset(found)


class _Body:
    """The code of a function, whose first argument is of a type."""

    def __init__(self, function: Any, first: Any) -> None:
        self._function = inspect.unwrap(function)
        self._tree = _tree(self._function)
        hints = _hints(self._function)
        arguments = [each.arg for each in ast.walk(self._tree) if isinstance(each, ast.arg)]
        self._names: Names = {name: hint for name, hint in hints.items() if name != "return"}
        if first is not None and arguments:
            self._names[arguments[0]] = first
        for each in ast.walk(self._tree):
            for target, value in _assigned(each):
                if isinstance(target, ast.Name):
                    self._names.setdefault(target.id, self.type(value))

    def calls(self) -> Iterator[ast.Call]:
        return (each for each in ast.walk(self._tree) if isinstance(each, ast.Call))

    def given(self, call: ast.Call) -> set[str]:
        """Return the codes among the arguments of a call to what returns refusals."""
        returns = _hints(self.resolve(call.func)[0]).get("return")
        return _codes(call) if returns is ApiError else set()

    def resolve(self, called: ast.expr) -> tuple[Any, Any]:
        """Return what is called, and the type that it is a method of."""
        if isinstance(called, ast.Name):
            return self._function.__globals__.get(called.id), None
        if isinstance(called, ast.Attribute):
            owner = self.type(called.value)
            if isinstance(owner, type):
                return inspect.getattr_static(owner, called.attr, None), owner
        return None, None

    def type(self, value: ast.expr) -> Any:
        """Return the type of an expression, None where it does not show."""
        if isinstance(value, ast.Name):
            return self._names.get(value.id)
        if isinstance(value, ast.Attribute):
            owner = self.type(value.value)
            return _attributes(owner).get(value.attr) if isinstance(owner, type) else None
        if isinstance(value, ast.Await):
            return self.type(value.value)
        if isinstance(value, ast.Call):
            called, _ = self.resolve(value.func)
            return called if isinstance(called, type) else _hints(called).get("return")
        return None


def _codes(call: ast.Call) -> set[str]:
    texts = {str(each.value) for each in call.args if isinstance(each, ast.Constant)}
    return texts & set(CODES)


def _assigned(node: ast.AST) -> Iterator[tuple[ast.expr, ast.expr]]:
    """Yield the targets of an assignment, each with its own value."""
    if not isinstance(node, ast.Assign):
        return
    target, value = node.targets[0], node.value
    if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
        yield from zip(target.elts, value.elts, strict=True)
    else:
        yield target, value


@functools.cache
def _attributes(owner: Any) -> Names:
    """Return the types of what an instance has: annotated, a property, or kept by `__init__`."""
    found: Names = {}
    for name, member in inspect.getmembers_static(owner):
        if isinstance(member, property):
            found[name] = _hints(member.fget).get("return")
    init = owner.__dict__.get("__init__")
    if isinstance(init, types.FunctionType) and not hasattr(owner, "__dataclass_fields__"):
        body = _Body(init, None)
        for each in ast.walk(_tree(init)):
            for target, value in _assigned(each):
                if isinstance(target, ast.Attribute):
                    found[target.attr] = body.type(value)
    return found | _hints(owner)


@functools.cache
def _hints(thing: Any) -> Names:
    try:
        return get_type_hints(thing)
    except (TypeError, NameError):
        return {}


@functools.cache
def _tree(function: types.FunctionType) -> ast.AST:
    try:
        return ast.parse(textwrap.dedent(inspect.getsource(function)))
    except OSError:
        return ast.Module([], [])  # made by a decorator such as `dataclass`
