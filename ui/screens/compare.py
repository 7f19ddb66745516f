"""compare."""

from parts.frame import title

title("compare")
