"""Monthly tables in, a served prediction out that can be traced, trusted and re-created."""

__version__ = "0.1.0"
__all__ = ["Workspace", "__version__", "open"]

_OF_WORKSPACE = ("Workspace", "open")


def __getattr__(name: str) -> object:
    """`streamflow.open` and its like, loaded when they are first used: `__init__.pyi` has types."""
    if name in _OF_WORKSPACE:
        from importlib import import_module

        return getattr(import_module("streamflow.workspace.workspace"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_OF_WORKSPACE})
