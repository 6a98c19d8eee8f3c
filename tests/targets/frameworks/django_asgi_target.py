"""The app of the matrix, in Django on ASGI."""

import django_site  # noqa: F401 - it configures Django
from django.core.asgi import get_asgi_application

app = get_asgi_application()
