"""Folders that ship beside the code."""

from promptflow_lite._utils.resources import bundled

__all__ = ["bundled"]
