"""The style of a report's page, and the policy that lets it apply and nothing else run."""

import base64
import hashlib
from pathlib import Path
from typing import Final

__all__ = ["POLICY", "STYLE"]

STYLE: Final = Path(__file__).with_name("page.css").read_text(encoding="utf-8")
_DIGEST: Final = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
#: of the page in a file, too: there are no scripts, and nothing is loaded
POLICY: Final = (
    f"default-src 'none'; style-src 'sha256-{_DIGEST}'; base-uri 'none'; form-action 'none'"
)
