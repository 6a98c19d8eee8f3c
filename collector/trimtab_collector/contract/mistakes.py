"""What is wrong with a value that is not of a type, in a sentence for whoever sent it.

Types say it themselves: their limits, the texts that they take, the names of their fields. `Meta`
may add in `extra` the `noun` of a number, an `example` of it, and `secret` for what is never shown.
"""

import json
import re
from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any, Final

import msgspec
from msgspec import inspect

__all__ = ["UNKNOWN", "mistake"]

#: stands for a value that cannot be looked up
UNKNOWN: Final = object()

_MESSAGE: Final = re.compile(r"(?P<what>.*?)(?: - at `(?P<key>key in )?\$?(?P<path>[^`]*)`)?", re.S)
_STEP: Final = re.compile(r"\.([^.\[\]]+)|\[(\d+|\.\.\.)\]")
_UNKNOWN_FIELD: Final = re.compile(r"Object contains unknown field `(.*)`", re.S)
_MISSING_FIELD: Final = re.compile(r"Object missing required field `(.*)`", re.S)
#: types as msgspec names them
_WORDS: Final = {
    "int": "a whole number",
    "float": "a number",
    "str": "a text",
    "bool": "true or false",
    "array": "a list",
    "object": "an object",
}
#: what is shown of a list of names
_MOST_NAMES: Final = 40


def mistake(error: msgspec.ValidationError, value: object, kind: type[Any]) -> str:
    """Return what was expected of a value and what came; kind is what it was to be.

    The sentence begins with the field. It is the one of msgspec where that says something else.
    """
    found = _MESSAGE.fullmatch(str(error))
    if found is None:
        return str(error)
    path = (found["path"] or "").removeprefix(".")
    if found["key"]:
        return f"{path or 'body'}: {found['what']}"
    shape, value = _at(inspect.type_info(kind), value, found["path"] or "")
    if unknown := _UNKNOWN_FIELD.fullmatch(found["what"]):
        names = sorted(name for each in _plain(shape) for name in _fields(each))
        return f"{_joined(path, unknown[1])}: {_nearest(unknown[1], names)}"
    if missing := _MISSING_FIELD.fullmatch(found["what"]):
        inside, _ = _at(shape, UNKNOWN, f".{missing[1]}")
        return f"{_joined(path, missing[1])}: expected {_expected(inside)}, got none"
    expected = _expected(shape)
    if not expected:
        return f"{path or 'body'}: {found['what']}"
    if _is_secret(shape) or (not path and isinstance(value, str)):
        value = UNKNOWN
    return f"{path or 'body'}: expected {expected}, got {_shown(value, found['what'])}"


def _at(shape: inspect.Type, value: object, path: str) -> tuple[inspect.Type, object]:
    """Return the type and the value that a path of msgspec leads to."""
    for name, place in _STEP.findall(path):
        inside: list[inspect.Type] = []
        for each in _plain(shape):
            if name:
                inside += [
                    field.type for key, field in _fields(each).items() if key in (name, f"{name}_")
                ]
            elif isinstance(each, inspect.ListType):
                inside.append(each.item_type)
            elif isinstance(each, inspect.DictType):
                inside.append(each.value_type)
        shape = inside[0] if len(inside) == 1 else inspect.AnyType()
        if name:
            value = value.get(name, UNKNOWN) if isinstance(value, dict) else UNKNOWN
        elif place.isdigit() and isinstance(value, list) and int(place) < len(value):
            value = value[int(place)]
        else:
            value = UNKNOWN
    return shape, value


def _plain(shape: inspect.Type) -> Iterable[inspect.Type]:
    """Yield the types that a value may have."""
    if isinstance(shape, inspect.Metadata):
        yield from _plain(shape.type)
    elif isinstance(shape, inspect.UnionType):
        for each in shape.types:
            yield from _plain(each)
    else:
        yield shape


def _is_secret(shape: inspect.Type) -> bool:
    if isinstance(shape, inspect.UnionType):
        return any(map(_is_secret, shape.types))
    return isinstance(shape, inspect.Metadata) and "secret" in (shape.extra or {})


def _fields(shape: inspect.Type) -> dict[str, inspect.Field]:
    if isinstance(shape, inspect.StructType):
        return {field.encode_name: field for field in shape.fields}
    return {}


def _nearest(name: str, names: list[str]) -> str:
    close = get_close_matches(name, names, n=1)
    if close:
        return f"unknown; did you mean {close[0]}?"
    return f"unknown; expected some of {', '.join(names[:_MOST_NAMES])}"


def _joined(path: str, name: str) -> str:
    return f"{path}.{name:.80}" if path else f"{name:.80}"


def _shown(value: object, message: str) -> str:
    if value is UNKNOWN:
        # What came is said where types differ: "Expected `float`, got `str`".
        _, got, type_ = message.partition(", got ")
        return _WORDS.get(type_.strip("`"), type_) if got else "another"
    if isinstance(value, (dict, list)):
        return "an object" if isinstance(value, dict) else f"a list of {len(value)}"
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 80 else f"{text[:80]}... ({len(text)} characters)"


def _expected(shape: inspect.Type) -> str:
    """Return a type in words, empty for one that says nothing."""
    if isinstance(shape, inspect.UnionType):
        return " or ".join(dict.fromkeys(filter(None, map(_expected, shape.types))))
    extra: dict[str, Any] = {}
    if isinstance(shape, inspect.Metadata):
        extra = shape.extra or {}
        shape = shape.type
    match shape:
        case inspect.LiteralType(values=values):
            return f"one of {', '.join(map(str, values))}"
        case inspect.FloatType() | inspect.IntType():
            noun = "a whole number" if isinstance(shape, inspect.IntType) else "a number"
            words = f"{extra.get('noun', noun)}{_range(shape)}"
            return f"{words}, such as {extra['example']}" if "example" in extra else words
        case inspect.StrType(min_length=least, max_length=most, pattern=pattern):
            words = f"a text{_length(least, most, 'characters')}"
            return f"{words} of the form {pattern}" if pattern else words
        case inspect.ListType(min_length=least, max_length=most):
            return f"a list{_length(least, most, 'items')}"
        case inspect.StructType() | inspect.DictType():
            return "an object"
        case inspect.BoolType():
            return "true or false"
        case inspect.NoneType():
            return "null"
    return ""


def _range(shape: inspect.FloatType | inspect.IntType) -> str:
    least = f" from {shape.ge:g}" if shape.ge is not None else ""
    least = f" over {shape.gt:g}" if shape.gt is not None else least
    if shape.le is not None:
        return f"{least} {'to' if least.startswith(' from') else 'up to'} {shape.le:.12g}"
    return f"{least} to below {shape.lt:g}" if shape.lt is not None else least


def _length(least: int | None, most: int | None, what: str) -> str:
    if least and most:
        return f" of {least} to {most} {what}"
    if most:
        return f" of up to {most} {what}"
    return f" of at least {least} {what}" if least else ""
