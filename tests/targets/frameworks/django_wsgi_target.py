"""The app of the matrix, in Django on WSGI."""

import django_site  # noqa: F401 - it configures Django
from django.core.wsgi import get_wsgi_application

app = get_wsgi_application()
