"""integrations: ASGI, WSGI, frameworks, the side port, third-party services."""
