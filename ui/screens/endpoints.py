"""endpoints."""

from parts.frame import title

title("endpoints")
