"""Seeing inside the app: the libraries it calls are measured where they are imported.

`instrument()` patches what is imported already, and the rest when the app comes to import it. A
library that is not there costs nothing. `uninstrument()` puts everything back.
"""

from trimtab.instrumentation.instrumenting import (
    TARGETS,
    instrument,
    instrumented,
    patch,
    uninstrument,
)

__all__ = ["TARGETS", "instrument", "instrumented", "patch", "uninstrument"]
