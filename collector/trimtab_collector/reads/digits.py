"""How many digits an answer shows of a figure: one that was estimated, one that is whole."""

from typing import Final

import numpy as np

from trimtab_collector.storage.columns import Array

__all__ = ["significant", "whole_of"]

_DIGITS: Final = 6
#: powers of ten up to this one are exact
_MOST: Final = 22
#: largest whole number that a float tells from its neighbours, and a browser reads as it is
_LARGEST: Final = 2**53


def significant(values: Array) -> Array:
    """Return float64 to six significant digits; nan and infinity as they are.

    A figure of a sketch is true to 1.1 %, and sixteen digits of it make answers a third larger.
    """
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        places = _DIGITS - 1 - np.floor(np.log10(np.abs(values)))
        up, down = (10.0 ** np.clip(each, 0, _MOST) for each in (places, -places))
        # Divided last: that gives the number nearest to the short text.
        shown = np.round(values * up / down) * down / up
    answer: Array = np.where(np.isfinite(shown), shown, values)
    return answer


def whole_of(value: float) -> int:
    """Return a sum of what many have sent as a whole number, up to 2**53 either way; 0 for nan.

    One app's figures must not make the answer about all of them impossible.
    """
    if -_LARGEST <= value <= _LARGEST:
        return int(value)
    return 0 if value != value else _LARGEST if value > 0 else -_LARGEST
