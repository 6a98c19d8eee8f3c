"""Route templates of Django: namespaces, languages, regular expressions, a catch-all, mounts."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

#: Django keeps its settings for the life of a process, so it has one of its own.
SITE = """
import io, json, logging, sys
import django
from django.conf import settings
from django.conf.urls.i18n import i18n_patterns
from django.http import HttpResponse, HttpResponseNotFound
from django.urls import include, path, re_path
from django.views import View
from django.views.generic import RedirectView

sys.path.insert(0, sys.argv[1])
from support.processes.drive import call, call_wsgi, measuring
from starlette.applications import Starlette
from starlette.routing import Mount

settings.configure(
    ROOT_URLCONF=__name__, ALLOWED_HOSTS=["*"], SECRET_KEY="x", LOGGING_CONFIG=None, USE_I18N=True,
    LANGUAGE_CODE="en", MIDDLEWARE=["django.middleware.locale.LocaleMiddleware"],
)

def view(request, *args, **kwargs): return HttpResponse("ok")
def refused(request): return HttpResponseNotFound()
class Only(View):
    def get(self, request, **kwargs): return HttpResponse("ok")

admin = ([path("", view, name="index"), path("<path:object_id>/change/", view, name="change"),
          re_path(r"(?P<url>.*)$", lambda request, url: HttpResponseNotFound())], "admin")
years = [re_path(r"^(?P<year>[0-9]{4})/", include([re_path(r"^(?P<month>\\d+)/$", view)]))]
urlpatterns = [
    path("admin/", include(admin, namespace="admin")),
    re_path(r"^archive/", include((years, "years"), namespace="old")),
    path("only/<int:n>", Only.as_view()),
    path("moved", RedirectView.as_view(url="/only/1")),
    path("refused", refused),
] + i18n_patterns(path("shop/<slug:name>", view), path("", include(([path("help", view)], "h"))))
logging.disable(logging.CRITICAL)
django.setup()

cases, kind = json.loads(sys.argv[2]), sys.argv[3]
with measuring() as measured:
    if kind == "wsgi":
        from django.core.wsgi import get_wsgi_application
        app = measured.wsgi(get_wsgi_application())
        for method, path in cases:
            call_wsgi(app, path, method, environ={"wsgi.input": io.BytesIO(), "HTTP_HOST": "h"})
    else:
        from django.core.asgi import get_asgi_application
        app = get_asgi_application()
        if kind == "mounted":
            app = Starlette(routes=[Mount("/of/{tenant}", app)])
        app = measured.asgi(app)
        for method, path in cases:
            path = "/of/acme" + path if kind == "mounted" else path
            call(app, path, method, headers=[(b"host", b"h")])
    seen = measured.records(len(cases))
    print(json.dumps([[s.template, s.record.status] for s in seen]))
"""

CASES = [
    ("GET", "/admin/", 200, "/admin/"),
    ("GET", "/admin/shop/item/7/change/", 200, "/admin/<path:object_id>/change/"),
    ("GET", "/admin/no/such/page", 404, "/admin/(?P<url>.*)"),
    ("GET", "/archive/1999/12/", 200, r"/archive/(?P<year>[0-9]{4})/(?P<month>\d+)/"),
    ("GET", "/only/7", 200, "/only/<int:n>"),
    ("POST", "/only/7", 405, "/only/<int:n>"),
    ("BREW", "/only/7", 405, "/only/<int:n>"),
    ("GET", "/moved", 302, "/moved"),
    ("GET", "/refused", 404, "/refused"),
    ("GET", "/en/shop/a-b", 200, "/<language>/shop/<slug:name>"),
    ("GET", "/de/shop/a-b", 200, "/<language>/shop/<slug:name>"),
    ("GET", "/ko/help", 200, "/<language>/help"),
    ("GET", "/only/x", 404, "unmatched"),
    ("GET", "/nothing/at/all", 404, "unmatched"),
]


@pytest.mark.parametrize("kind", ["wsgi", "asgi", "mounted"])
def test_a_request_has_the_route_that_a_person_wrote(tmp: Path, kind: str) -> None:
    (tmp / "site_of_the_test.py").write_text(SITE)
    tests = str(Path(__file__).resolve().parent.parent)
    asked = json.dumps([case[:2] for case in CASES])
    command = [sys.executable, "-Wignore", str(tmp / "site_of_the_test.py"), tests, asked, kind]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    got: list[Any] = json.loads(done.stdout)
    wanted = [(template, status) for _, _, status, template in CASES]
    if kind == "mounted":
        # The mount took what Django did not.
        wanted = [
            ("/of/{tenant}" + ("/{path}" if template == "unmatched" else template), status)
            for template, status in wanted
        ]
    assert [(template, status) for template, status in got] == wanted
