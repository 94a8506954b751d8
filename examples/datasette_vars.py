"""Datasette, a service that knows nothing of pyvars, with its variables at /debug/vars:

pip install datasette
uvicorn examples.datasette_vars:app
curl localhost:8000/debug/vars
"""

from datasette.app import Datasette

from pyvars.asgi import VarsMiddleware

bare = Datasette([], memory=True).app()
app = VarsMiddleware(bare)
