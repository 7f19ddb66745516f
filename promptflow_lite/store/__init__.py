"""The database: runs, lines and connections as records, on SQLite or PostgreSQL through SQLAlchemy; no business rules.

Importing this door is cheap; SQLAlchemy is loaded when a store is opened.
"""

from promptflow_lite.store.config import ConfigFiles
from promptflow_lite.store.store import Store

__all__ = ["ConfigFiles", "Store"]
