"""The import shim: `from promptflow.core import tool` and the like, served when the original is not installed.

It sits below everything that runs user code and imports nothing above itself: the table's targets are dotted strings,
resolved when a name is used.
"""


def install() -> None:
    """Serve `promptflow` imports from the table; does nothing when the original package is installed."""
    from promptflow_lite.compat.finder import install_finder

    install_finder()


__all__ = ["install"]
