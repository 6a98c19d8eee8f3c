"""Values from beyond any schema, changes of a tree of values, and a packer that writes them.

An honest packer refuses much of what a peer can send: keys that repeat, texts that are no UTF-8,
lists a thousand deep. `pack` writes all of that.
"""

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import inf, nan
from typing import Any

import msgpack

__all__ = ["NAMES", "NUMBERS", "TEXTS", "Pairs", "Raw", "changed", "pack", "strange"]


@dataclass(frozen=True, slots=True)
class Raw:
    """Bytes of msgpack that are written as they are."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Pairs:
    """A map with pairs in this order; keys may repeat, or be what no map can have."""

    pairs: tuple[tuple[Any, Any], ...]


#: where ranges end: of widths in bits, of whole floats, of floats
NUMBERS = (
    *(0, 1, -1, 127, 255, 65_535, 65_536, 2**31 - 1, 2**31, 2**32 - 1, 2**32),
    *(2**53 - 1, 2**53, 2**53 + 1, 2**63 - 1, 2**63, 2**64 - 1, -(2**31), -(2**53), -(2**63)),
    *(inf, -inf, nan, 0.0, -0.0, 0.5, 5e-324, 2.2e-308, 1e15, 1e300, 1.7e308, -1.7e308),
)
#: texts that are taken for something else, or that something cannot write
TEXTS = (
    *(
        "",
        " ",
        "\x00",
        "a\x00b",
        "\x1b[2J\x1b[31m",
        "\u202eexe.txt",
        "\u2028",
        "\r\nX: y",
        "\ufeff",
    ),
    *("\ud800", "\udfff", "\U0010ffff", "e\u0301" * 60, "\u200b", "한국어", "ß" * 128),
    *("a" * 128, "a" * 129, "a" * 256, "a" * 257, "a" * 4097, "b" * 65_536),
    *("'; DROP TABLE series --", "../../x", "<script>alert(1)</script>", "{0.__class__}", "%s%n"),
    *("__proto__", "null", "NaN", "1e999", "other", "unmatched", "*", "[a-", "?", "service=x&"),
)
#: those of TEXTS that are names: not empty, UTF-8, of up to 128 characters
NAMES = tuple(
    text
    for text in TEXTS
    if 0 < len(text) <= 128 and not any("\ud800" <= letter < "\ue000" for letter in text)
)


def _ext(kind: int, data: bytes) -> Raw:
    return Raw(msgpack.packb(msgpack.ExtType(kind, data)))


def _containers(rng: random.Random) -> Raw:
    """Return very many lists or maps that cost a byte each."""
    count = rng.choice((1_000, 20_001, 50_001, 65_535))
    one = rng.choice((b"\x90", b"\x80", b"\xa0", b"\xc0", b"\x81\xa0\x90"))
    return Raw(b"\xdc" + min(count, 65_535).to_bytes(2, "big") + one * min(count, 65_535))


_OTHERS: tuple[Callable[[random.Random], Any], ...] = (
    lambda rng: rng.choice(NUMBERS),
    lambda rng: rng.choice(NUMBERS),
    lambda rng: rng.choice(TEXTS),
    lambda rng: rng.choice(TEXTS),
    lambda rng: rng.choice((None, True, False, [], {}, b"", [[]], {"": None}, {1: 2}, [None] * 9)),
    lambda rng: rng.randbytes(rng.choice((1, 8, 32, 33, 4097))),
    lambda rng: rng.getrandbits(rng.choice((8, 16, 32, 53, 63))),
    lambda rng: Pairs((([], 1), ({}, 2))),
    lambda rng: Pairs((("a", 1), ("a", 2), (1, 3), (1.0, 4), (None, 5), (b"a", 6))),
    lambda rng: _ext(rng.choice((0, 5, 127)), rng.randbytes(4)),
    lambda rng: Raw(msgpack.packb(msgpack.Timestamp(2**33, 5))),
    lambda rng: Raw(b"\x91" * rng.choice((20, 400, 1_000, 1_100, 20_000)) + b"\x90"),
    lambda rng: Raw(b"\x81\xa1a" * rng.choice((20, 400, 1_000, 5_000)) + b"\xc0"),
    lambda rng: Raw(rng.choice((b"\xa2\xff\xfe", b"\xc1", b"\xd9\x05ab", b"\xdf\xff\xff\xff\xff"))),
    _containers,
)  # fmt: skip


def strange(rng: random.Random) -> Any:
    """Return a value that is hardly what is expected."""
    return rng.choice(_OTHERS)(rng)


def changed(rng: random.Random, tree: Any, times: int = 1) -> Any:
    """Return a tree of lists and maps with so many changes; the tree itself stays as it is."""
    for _ in range(times):
        places = list(_places(tree, ()))
        tree = _at(tree, rng.choice(places), rng)
    return tree


def pack(value: Any) -> bytes:
    """Return a value as msgpack; raises ValueError or OverflowError for what has no form in it."""
    if isinstance(value, Raw):
        return value.data
    packer = msgpack.Packer(unicode_errors="surrogatepass")
    if isinstance(value, (dict, Pairs)):
        pairs: Sequence[tuple[Any, Any]] = (
            value.pairs if isinstance(value, Pairs) else list(value.items())
        )
        inner = b"".join(pack(key) + pack(each) for key, each in pairs)
        return bytes(packer.pack_map_header(len(pairs))) + inner
    if isinstance(value, (list, tuple)):
        return bytes(packer.pack_array_header(len(value))) + b"".join(map(pack, value))
    return bytes(packer.pack(value))


def _places(tree: Any, path: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
    """Yield the path of each node below the root; of long lists only that of some."""
    if isinstance(tree, Mapping):
        for key, value in tree.items():
            yield (*path, key)
            yield from _places(value, (*path, key))
    elif isinstance(tree, (list, tuple)):
        for place, value in enumerate(tree[:40]):
            yield (*path, place)
            yield from _places(value, (*path, place))
    if not path:
        yield path


def _at(tree: Any, path: tuple[Any, ...], rng: random.Random) -> Any:
    if len(path) > 1:
        return _with(tree, path[0], _at(tree[path[0]], path[1:], rng))
    if not path:
        return strange(rng)
    return rng.choice(_CHANGES)(tree, path[0], rng)


def _with(tree: Any, key: Any, value: Any) -> Any:
    if isinstance(tree, dict):
        return {**tree, key: value}
    return [*tree[:key], value, *tree[key + 1 :]]


def _replaced(tree: Any, key: Any, rng: random.Random) -> Any:
    return _with(tree, key, strange(rng))


def _removed(tree: Any, key: Any, _rng: random.Random) -> Any:
    if isinstance(tree, dict):
        return {each: value for each, value in tree.items() if each != key}
    return [*tree[:key], *tree[key + 1 :]]


def _doubled(tree: Any, key: Any, rng: random.Random) -> Any:
    if isinstance(tree, dict):
        if any(isinstance(value, (dict, list)) for value in tree.values()):
            return {**tree, rng.choice(TEXTS[:20]): tree[key]}
        return Pairs((*tree.items(), (key, strange(rng))))
    times = rng.choice((1, 1, 2, 300))
    return [*tree[:key], *[tree[key]] * times, *tree[key:]]


def _renamed(tree: Any, key: Any, rng: random.Random) -> Any:
    if isinstance(tree, dict):
        name = rng.choice((*TEXTS, *NUMBERS, None, True, b"x"))
        return {name if each == key else each: value for each, value in tree.items()}
    other = rng.randrange(len(tree))
    swapped = list(tree)
    swapped[key], swapped[other] = swapped[other], swapped[key]
    return swapped


def _wrapped(tree: Any, key: Any, rng: random.Random) -> Any:
    value = tree[key]
    return _with(tree, key, rng.choice(([value], {"": value}, [value, value], str(value)[:300])))


#: the first one most often: it finds most
_CHANGES = (_replaced, _replaced, _replaced, _replaced, _removed, _doubled, _renamed, _wrapped)
