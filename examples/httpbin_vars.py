"""Adds /debug/vars to httpbin, a Flask service that does not use pyvars:

pip install httpbin gunicorn
gunicorn examples.httpbin_vars:application
curl localhost:8000/debug/vars
"""

from httpbin import app as flask_app

from pyvars import wsgi

bare = flask_app.wsgi_app
application = wsgi.VarsMiddleware(bare)
