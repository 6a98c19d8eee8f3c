"""The challenge by which app and agent know each other over TCP, and the MACs on what follows.

Both have the same token; it never travels. Each side proves that it has it by an HMAC-SHA256
(RFC 2104) over both sides' nonces, the agent first, so that an app tells nothing to a stranger:

    app    ["challenge", nonce of the app]
    agent  ["answer", nonce of the agent, proof of the agent]
    app    ["proof", proof of the app]

From then on every frame in either direction ends in 16 bytes: the HMAC, under a key of this
connection and direction, of the frame's number and payload. A frame that was changed, left out,
repeated or sent by another breaks the connection. What the frames say can be read by others on the
way: samples hold nothing secret, but TCP is meant for one machine or pod.
"""

import hmac
import os
import struct
from typing import Final

from trimtab_core.errors import FrameError
from trimtab_core.frames import MAC_BYTES

__all__ = ["MIN_TOKEN", "NONCE_BYTES", "Seal", "new_nonce", "proof_of", "proves", "seal_of"]

NONCE_BYTES: Final = 32
#: Characters of the shortest token that is taken.
MIN_TOKEN: Final = 16
_NUMBER: Final = struct.Struct(">Q")


class Seal:
    """Makes or checks the MACs of one direction of one connection; not thread-safe."""

    __slots__ = ("_key", "_number")

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._number = 0

    def mac(self, payload: bytes | memoryview) -> bytes:
        """Return the MAC of the next frame."""
        self._number += 1
        whole = hmac.new(self._key, _NUMBER.pack(self._number), "sha256")
        whole.update(payload)
        return whole.digest()[:MAC_BYTES]

    def check(self, payload: memoryview) -> memoryview:
        """Return the next frame's payload without its MAC; raises FrameError when it is not it."""
        body, mac = payload[:-MAC_BYTES], payload[-MAC_BYTES:]
        if not hmac.compare_digest(self.mac(body), mac):
            raise FrameError("expected a frame with the MAC of this connection, got another one")
        return body


def new_nonce() -> bytes:
    """Return bytes that were never used before."""
    return os.urandom(NONCE_BYTES)


def proof_of(token: str, role: str, app_nonce: bytes, agent_nonce: bytes) -> bytes:
    """Return what only a holder of the token can say; role is `app` or `agent`."""
    return _derived(token, f"trimtab proof {role}", app_nonce, agent_nonce)


def proves(proof: bytes, token: str, role: str, app_nonce: bytes, agent_nonce: bytes) -> bool:
    """Tell whether a proof is the one that a role with this token gives."""
    return hmac.compare_digest(proof, proof_of(token, role, app_nonce, agent_nonce))


def seal_of(token: str, role: str, app_nonce: bytes, agent_nonce: bytes) -> Seal:
    """Return the seal of the frames that a role sends, for its own end and for the other's."""
    return Seal(_derived(token, f"trimtab frames of {role}", app_nonce, agent_nonce))


def _derived(token: str, purpose: str, app_nonce: bytes, agent_nonce: bytes) -> bytes:
    # Purpose and nonces have fixed lengths or an end of their own: no two readings of one text.
    text = purpose.encode() + b"\0" + app_nonce + agent_nonce
    return hmac.digest(token.encode(), text, "sha256")
