"""Adds /debug/vars to Datasette, a service that does not use pyvars:

pip install datasette
uvicorn examples.datasette_vars:app
curl localhost:8000/debug/vars
"""

from datasette.app import Datasette

from pyvars.asgi import VarsMiddleware

bare = Datasette([], memory=True).app()
app = VarsMiddleware(bare)
