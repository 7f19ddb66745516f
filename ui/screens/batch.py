"""batch."""

from parts.frame import title

title("batch")
