"""runs."""

from parts.frame import title

title("runs")
