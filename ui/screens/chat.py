"""chat."""

from parts.frame import title

title("chat")
