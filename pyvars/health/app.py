"""HealthApp: the views below /status as an ASGI application."""

from pyvars.access import Access
from pyvars.asgi import SiteApp
from pyvars.site.default import status

__all__ = ("HealthApp",)


class HealthApp(SiteApp):
    """An ASGI application that answers `/health`, `/hardware/disk`, `/hardware/ram` and `/hardware/cpu`.

        app = Starlette(routes=[Mount("/status", HealthApp())])

    `access` decides which requests may see them; the default, `pyvars.access.default()`, allows programs on this
    machine, and requests that send PYVARS_TOKEN if that is set. `/health` also answers requests that `access` refuses,
    but without the names of the checks that fail. All figures are those of the process and the machine that answer, not
    of the other workers.
    Thread-safe.
    """

    def __init__(self, *, access: Access | None = None) -> None:
        super().__init__(status(access))
