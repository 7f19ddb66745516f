"""Author, run, compare, evaluate and serve prompt flows on one machine, offline."""

__version__ = "0.1.0"
