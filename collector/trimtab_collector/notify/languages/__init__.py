"""The words of messages, by language; a test compares their keys."""

from trimtab_collector.notify.languages.english import ENGLISH
from trimtab_collector.notify.languages.korean import KOREAN
from trimtab_collector.notify.languages.words import MessageWords

__all__ = ["LANGUAGES", "MessageWords"]

#: code -> words
LANGUAGES = {"en": ENGLISH, "ko": KOREAN}
