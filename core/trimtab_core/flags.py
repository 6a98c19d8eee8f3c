"""Command-line flags made from a settings class; not in config, which apps import."""

import argparse
import dataclasses

from trimtab_core.config import shown

__all__ = ["add_flags"]


def add_flags(parser: argparse.ArgumentParser, settings: type) -> None:
    """Give a parser one flag per setting, but none for secrets: every user can see arguments."""
    for field in dataclasses.fields(settings):
        meta = field.metadata
        if not meta or meta["secret"]:
            continue
        unit = f" [{meta['unit']}]" if meta["unit"] else ""
        text = f"{meta['doc']}{unit} (default: {shown(field.default)})".replace("%", "%%")
        flag = "--" + field.name.replace("_", "-")
        if isinstance(field.default, bool):
            parser.add_argument(
                flag, action=argparse.BooleanOptionalAction, default=None, help=text
            )
        else:
            parser.add_argument(flag, default=None, metavar="VALUE", help=text)
