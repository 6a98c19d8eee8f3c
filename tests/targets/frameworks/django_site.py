"""The app of the matrix as a Django site; it has no WebSocket of its own."""

from collections.abc import AsyncIterator

import django
from django.conf import settings
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.urls import include, path
from django.views.decorators.http import require_GET

if not settings.configured:
    settings.configure(
        ROOT_URLCONF=__name__, ALLOWED_HOSTS=["*"], SECRET_KEY="of no secret", LOGGING_CONFIG=None
    )
    django.setup()


@require_GET  # type: ignore[untyped-decorator]
def item(request: HttpRequest, item_id: int) -> HttpResponse:
    """Answer with the item's number."""
    return HttpResponse(f"item {item_id}", content_type="text/plain")


def user(request: HttpRequest, name: str) -> HttpResponse:
    """Answer with the user's name."""
    return HttpResponse(f"user {name}", content_type="text/plain")


def boom(request: HttpRequest) -> HttpResponse:
    """Fail."""
    raise RuntimeError("boom")


def stream(request: HttpRequest) -> StreamingHttpResponse:
    """Answer in three parts; Django warns of an iterator that is not of its interface."""
    if not hasattr(request, "scope"):
        return StreamingHttpResponse(iter((b"one ", b"two ", b"three")), content_type="text/plain")

    async def parts() -> AsyncIterator[bytes]:
        for part in (b"one ", b"two ", b"three"):
            yield part

    return StreamingHttpResponse(parts(), content_type="text/plain")


users = [path("users/<str:name>", user)]
urlpatterns = [
    path("items/<int:item_id>", item),
    path("api/", include([path("v1/", include(users))])),
    path("boom", boom),
    path("stream", stream),
]
