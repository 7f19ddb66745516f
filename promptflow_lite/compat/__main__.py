"""`python -m promptflow_lite.compat SCRIPT [ARGUMENT ...]`: run a script whose `promptflow` imports the shim serves."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path


def main() -> None:
    """Run the script that the command line names, as Python itself would."""
    if len(sys.argv) < 2:
        sys.exit("usage: python -m promptflow_lite.compat SCRIPT [ARGUMENT ...]")

    del sys.argv[0]
    sys.path.insert(0, str(Path(sys.argv[0]).resolve().parent))
    runpy.run_path(sys.argv[0], run_name="__main__")


if __name__ == "__main__":
    main()
