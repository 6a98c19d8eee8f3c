"""trimtab in your app: every request timed at a few microseconds.

    from trimtab import Middleware        # ASGI
    app = Middleware(app)

    from trimtab import WSGIMiddleware    # WSGI
    application = WSGIMiddleware(application)

or, with no change to the code, `trimtab run -- uvicorn app:app`.
"""

from trimtab.asgi import Middleware
from trimtab.settings import Settings
from trimtab.slot import Slot, current_slot
from trimtab.wsgi import WSGIMiddleware

__all__ = ["Middleware", "Settings", "Slot", "WSGIMiddleware", "current_slot"]
