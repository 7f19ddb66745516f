"""run."""

from parts.frame import title

title("run")
