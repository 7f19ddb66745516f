"""Adapters for names of the original whose shape differs from ours; `compat.table` points here."""
