"""connections."""

from parts.frame import title

title("connections")
