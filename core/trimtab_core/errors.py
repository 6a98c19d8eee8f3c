"""Every error trimtab raises on purpose.

TrimtabError
 +-- SettingsError       a setting is unknown, malformed or out of range: exit 2 at start-up
 +-- StartupError        the process cannot start: busy port, bad socket path, locked data: exit 2
 +-- WireError           bytes from a peer do not follow the protocol
      +-- FrameError     on the socket between app and agent: the connection is closed
      +-- BatchError     between agent and collector: the whole batch is refused
           +-- TooLargeError   over a stated limit, before or after decompression
"""

__all__ = [
    "BatchError",
    "FrameError",
    "SettingsError",
    "StartupError",
    "TooLargeError",
    "TrimtabError",
    "WireError",
]


class TrimtabError(Exception):
    """Root of the tree; the message says what was expected, what came and what to do."""


class SettingsError(TrimtabError):
    """A setting cannot be used."""


class StartupError(TrimtabError):
    """A process cannot start."""


class WireError(TrimtabError):
    """Bytes from a peer break the protocol."""


class FrameError(WireError):
    """A frame on the app-agent socket breaks the protocol."""


class BatchError(WireError):
    """A batch breaks the protocol."""


class TooLargeError(BatchError):
    """A batch is larger than the stated limit."""
