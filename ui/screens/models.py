"""models."""

from parts.frame import title

title("models")
