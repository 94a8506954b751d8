"""HealthApp: the views of health and hardware as an ASGI application."""

from pyvars.access import Access
from pyvars.asgi import SiteApp
from pyvars.site.default import status

__all__ = ("HealthApp",)


class HealthApp(SiteApp):
    """An ASGI application that answers `/health`, `/hardware/disk`, `/hardware/ram` and `/hardware/cpu`.

        app = Starlette(routes=[Mount("/status", HealthApp())])

    `/health` answers everybody, and names what fails to who may look; the rest is for who may look: programs on this
    machine, unless `access` says otherwise. It speaks for the process and machine that answer. Thread-safe.
    """

    def __init__(self, *, access: Access | None = None) -> None:
        super().__init__(status(access))
