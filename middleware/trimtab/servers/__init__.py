"""Wrapping at the server: what `trimtab run` does to the servers it knows, one file each.

The app is wrapped where the server has just loaded it, outermost, so that exceptions turned into
answers by the framework are seen as those answers. A server is patched once; an app that is
wrapped already is left alone.
"""

from trimtab.servers.patches import TARGETS, patch
from trimtab.servers.uwsgi import watch_file
from trimtab.servers.wrapping import measured

__all__ = ["TARGETS", "measured", "patch", "watch_file"]
