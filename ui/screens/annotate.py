"""annotate."""

from parts.frame import title

title("annotate")
