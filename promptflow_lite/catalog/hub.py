"""Models from a Hugging Face repository, or from anything that speaks its protocol.

Downloads resume where they stopped and are compared with the checksum that the repository states.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from promptflow_lite import settings
from promptflow_lite._utils.hashing import file_digest
from promptflow_lite._utils.imports import require
from promptflow_lite.catalog.index import models_folder
from promptflow_lite.errors import ModelLoadError, ModelNotFoundError, SDKError

_PREFERRED = ("*q4_k_m*", "*q4_k_s*", "*q4_0*", "*q4_1*", "*q5_k_m*", "*q8_0*")
"""Quantisations taken when a repository has several files and none is named, best first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HubFile:
    """A GGUF file of a repository."""

    repository: str
    file: str
    revision: str
    """Commit."""
    size_bytes: int | None
    sha256: str | None
    licence: str | None


def list_files(repository: str, *, revision: str | None = None) -> list[HubFile]:
    """The GGUF files of a repository.

    Raises:
        ModelNotFoundError: the repository does not exist or has no GGUF file.
    """
    info = _asked(lambda api: api.model_info(repository, revision=revision, files_metadata=True), repository)
    licence = (info.card_data or {}).get("license") if info.card_data else None
    files = [
        HubFile(
            repository=repository,
            file=sibling.rfilename,
            revision=info.sha,
            size_bytes=sibling.size,
            sha256=sibling.lfs.sha256 if sibling.lfs else None,
            licence=licence,
        )
        for sibling in info.siblings or ()
        if sibling.rfilename.endswith(".gguf")
    ]
    if not files:
        raise ModelNotFoundError(f"The repository {repository!r} has no GGUF file.", repository=repository)

    return files


def search_hub(text: str, *, limit: int = 20) -> list[dict[str, Any]]:
    """Repositories with GGUF files that match a text, most downloaded first."""
    found = _asked(lambda api: list(api.list_models(search=text, filter="gguf", sort="downloads", limit=limit)), text)
    return [{"repository": item.id, "downloads": item.downloads, "likes": item.likes} for item in found]


def choose_file(files: list[HubFile], pattern: str | None = None) -> HubFile:
    """The one file that a name or pattern means, or the usual quantisation without one.

    Raises:
        ModelNotFoundError: no file matches.
    """
    if pattern:
        matches = [file for file in files if fnmatch.fnmatch(file.file, pattern)]
    else:
        ranked = ([file for file in files if fnmatch.fnmatch(file.file.lower(), wanted)] for wanted in _PREFERRED)
        matches = next((found for found in ranked if found), files)
    if not matches:
        names = ", ".join(file.file for file in files)
        raise ModelNotFoundError(f"No file of {files[0].repository!r} matches {pattern!r}.", hint=f"It has {names}.")

    return matches[0]


Report = Callable[[int, int | None], None]
"""Told the bytes that are here and those of the whole file."""


def download(file: HubFile, report: Report | None = None) -> Path:
    """Fetch a file into the models folder, resuming an earlier attempt; returns its path.

    Args:
        file: Of a repository.
        report: Told how far the download is.
    Raises:
        ModelLoadError: what arrived is not what the repository states.
    """
    hub = require("huggingface_hub", extra="hub", feature="Downloading from a model hub")
    folder = models_folder() / file.repository.replace("/", "--")
    try:
        path = Path(
            hub.hf_hub_download(
                file.repository,
                file.file,
                revision=file.revision,
                local_dir=folder,
                endpoint=_endpoint(),
                token=_token(),
                tqdm_class=_reporting_bar(report) if report else None,
            )
        )
    except Exception as error:  # the library lets classes of its HTTP client through
        raise SDKError(
            f"The download of {file.file!r} stopped: {error}.",
            hint="Run the command again; it goes on where it stopped.",
        ) from error

    if file.sha256 and (found := file_digest(path)) != file.sha256:
        path.unlink()
        raise ModelLoadError(
            f"The checksum of {file.file!r} is wrong; the file was deleted.",
            need=file.sha256,
            have=found,
            path=str(path),
        )

    return path


def _reporting_bar(report: Report) -> Any:
    """A progress bar that draws nothing and tells `report` instead."""
    bar: Any = require("huggingface_hub.utils", extra="hub", feature="Downloading from a model hub").tqdm

    class ReportingBar(bar):  # type: ignore[misc]
        def __init__(self, *args: Any, initial: int = 0, total: int | None = None, **options: Any) -> None:
            super().__init__(*args, initial=initial, total=total, **{**options, "disable": True})
            self.n_bytes = initial

        def update(self, n: float | None = 1) -> bool | None:
            self.n_bytes += int(n or 0)
            report(self.n_bytes, self.total)
            return None

    return ReportingBar


def _asked(question: Any, subject: str) -> Any:
    hub = require("huggingface_hub", extra="hub", feature="Looking at a model hub")
    try:
        return question(hub.HfApi(endpoint=_endpoint(), token=_token()))
    except hub.errors.RepositoryNotFoundError as error:
        raise ModelNotFoundError(f"The hub has no repository {subject!r}.", repository=subject) from error
    except Exception as error:  # the library lets classes of its HTTP client through
        raise SDKError(
            f"The model hub cannot be asked about {subject!r}: {error}.",
            hint="This needs the network; a GGUF file that is on this machine can be added without it.",
        ) from error


def _endpoint() -> str | None:
    return settings.env("PFL_HUB_ENDPOINT") or settings.env("HF_ENDPOINT")


def _token() -> str | bool:
    """The user's token; False keeps the library from looking for one."""
    return settings.env("HF_TOKEN") or False
