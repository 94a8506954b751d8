"""A project of Django with the middleware in its settings.

python -m tests.integrations.django_site runserver 8000
"""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Iterator
from typing import Any

from django.http import FileResponse, HttpResponse, StreamingHttpResponse
from django.urls import include, path

SECRET_KEY = "test"
ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = __name__
MIDDLEWARE = ["pyvars.django.VarsMiddleware", "django.middleware.common.CommonMiddleware"]
WSGI_APPLICATION = f"{__name__}.wsgi_application"
LOGGING_CONFIG = None
USE_TZ = True


def hello(request: Any, **parameters: Any) -> HttpResponse:
    return HttpResponse(b"own", content_type="text/plain")


async def hello_async(request: Any) -> HttpResponse:
    return HttpResponse(b"own", content_type="text/plain")


def raises(request: Any) -> HttpResponse:
    raise LookupError


def parts(request: Any) -> StreamingHttpResponse:
    return StreamingHttpResponse(iter([b"12345", "", "678"]))


def broken(request: Any) -> StreamingHttpResponse:
    def body() -> Iterator[bytes]:
        yield b"12345"
        raise LookupError

    return StreamingHttpResponse(body())


async def parts_async(request: Any) -> StreamingHttpResponse:
    async def body() -> AsyncIterator[bytes]:
        yield b"12345"
        await asyncio.sleep(0)
        yield b"678"

    return StreamingHttpResponse(body())


async def broken_async(request: Any) -> StreamingHttpResponse:
    async def body() -> AsyncIterator[bytes]:
        yield b"12345"
        raise LookupError

    return StreamingHttpResponse(body())


async def events(request: Any, number: int) -> StreamingHttpResponse:
    async def body() -> AsyncIterator[bytes]:
        yield b"data: 1\n\n"
        await asyncio.sleep(60)

    return StreamingHttpResponse(body(), content_type="text/event-stream")


def own(request: Any) -> HttpResponse:
    getattr(request, "scope", request.META)["pyvars.route"] = "of the view"
    return hello(request)


def file(request: Any) -> FileResponse:
    return FileResponse(open(__file__, "rb"))


urlpatterns = [
    path("hello", hello),
    path("hello_async", hello_async),
    path("raises", raises),
    path("parts", parts),
    path("parts_async", parts_async),
    path("broken", broken),
    path("broken_async", broken_async),
    path("events/<int:number>", events),
    path("file", file),
    path("own", own),
    path("shop/", include([path("items/<int:number>/", hello)])),
]

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.integrations.django_site")
    from django.core.management import execute_from_command_line

    execute_from_command_line(sys.argv)
elif os.environ.get("DJANGO_SETTINGS_MODULE") == __name__:
    from django.core.asgi import get_asgi_application
    from django.core.wsgi import get_wsgi_application

    wsgi_application = get_wsgi_application()
    asgi_application = get_asgi_application()
