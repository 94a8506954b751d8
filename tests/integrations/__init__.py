"""integrations: ASGI, WSGI, frameworks, the side port, services that nobody here wrote."""
