"""The version of pyvars."""

__all__ = ("__version__",)

__version__: str = "0.1.0"
