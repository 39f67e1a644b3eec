"""Server-side HTTP sessions for Starlette, FastAPI and ASGI applications."""

__version__ = "0.1.0"
