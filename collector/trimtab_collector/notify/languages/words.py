"""What a language must have to write messages in it."""

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["MessageWords"]


@dataclass(frozen=True, slots=True)
class MessageWords:
    """The words of one language. Places in braces are filled by `texts.py`."""

    #: key -> sentence or word
    words: Mapping[str, str]
    #: metric -> how people call it
    metrics: Mapping[str, str]
    #: metric -> what to look at next, one or two; "" is for every other metric
    hints: Mapping[str, tuple[str, ...]]
    #: what is asked of the API -> the page that shows it, for messages that lead to pages
    pages: Mapping[str, str]
