"""variants."""

from parts.frame import title

title("variants")
