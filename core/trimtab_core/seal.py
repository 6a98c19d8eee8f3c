"""The challenge by which app and agent identify each other over TCP, and the MACs of frames.

Both have the same token, which is never sent. Each side proves that it has the token by an
HMAC-SHA256 (RFC 2104) over both sides' nonces. The agent proves first, so that an app tells nothing
to a stranger:

    app    ["challenge", nonce of the app]
    agent  ["answer", nonce of the agent, proof of the agent]
    app    ["proof", proof of the app]

From then on every frame in either direction ends in 16 bytes: the HMAC of the frame's number and
payload, with a key of this connection and direction. A frame that was changed, left out, repeated
or sent by another process breaks the connection. Frames are not encrypted: samples hold nothing
secret, and TCP is meant for one machine or pod.
"""

import hmac
import os
import struct
from typing import Final

from trimtab_core.errors import FrameError
from trimtab_core.frames import MAC_BYTES

__all__ = ["MIN_TOKEN", "NONCE_BYTES", "Seal", "new_nonce", "proof_of", "proves", "seal_of"]

NONCE_BYTES: Final = 32
#: Characters of the shortest token that is accepted.
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
        """Return the next frame's payload without its MAC; raises FrameError if that is wrong."""
        body, mac = payload[:-MAC_BYTES], payload[-MAC_BYTES:]
        if not hmac.compare_digest(self.mac(body), mac):
            raise FrameError("expected a frame with the MAC of this connection, got another one")
        return body


def new_nonce() -> bytes:
    """Return random bytes, which are used once."""
    return os.urandom(NONCE_BYTES)


def proof_of(token: str, role: str, app_nonce: bytes, agent_nonce: bytes) -> bytes:
    """Return the proof that a role, `app` or `agent`, has the token."""
    return _derived(token, f"trimtab proof {role}", app_nonce, agent_nonce)


def proves(proof: bytes, token: str, role: str, app_nonce: bytes, agent_nonce: bytes) -> bool:
    """Tell whether a proof shows that a role has the token."""
    return hmac.compare_digest(proof, proof_of(token, role, app_nonce, agent_nonce))


def seal_of(token: str, role: str, app_nonce: bytes, agent_nonce: bytes) -> Seal:
    """Return the seal of the frames that a role sends; both ends need one."""
    return Seal(_derived(token, f"trimtab frames of {role}", app_nonce, agent_nonce))


def _derived(token: str, purpose: str, app_nonce: bytes, agent_nonce: bytes) -> bytes:
    # The purpose ends with a zero byte and nonces have a fixed length, so the text is unambiguous.
    text = purpose.encode() + b"\0" + app_nonce + agent_nonce
    return hmac.digest(token.encode(), text, "sha256")
