"""The import shim: `from promptflow.core import tool` and the like, served when the original is not installed.

Importing this package switches the shim on; nothing else does. It sits below everything that runs user code and imports
nothing above itself: the table's targets are dotted text, resolved when a name is used.
"""

from promptflow_lite.compat.finder import install, is_original_installed, uninstall

__all__ = ["install", "is_original_installed", "uninstall"]

install()
