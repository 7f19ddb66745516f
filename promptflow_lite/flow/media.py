"""Images and text items in values: reading both message formats, and writing them to files or JSON.

Nothing here is fetched unless the caller allows it; addresses inside private networks are refused (`fetch`).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from promptflow_lite.errors import InvalidImageInput
from promptflow_lite.flow.fetch import fetch_bytes

MessageFormat = str
"""`basic` or `openai-vision`."""

MAX_IMAGE_BYTES = 50 * 1024 * 1024

_BASIC_KEY = re.compile(r"data:image/([^;]*);(path|base64|url)\Z")
_ITEM_TEXT = re.compile(r"\A(data:image/[^;]*;(?:path|base64|url))\s*:\s*(.*)\Z", re.DOTALL)
_DATA_URI = re.compile(r"data:(image/[^;,]+);base64,", re.IGNORECASE)
_SIGNATURES = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"BM", "image/bmp"),
    (b"II*\x00", "image/tiff"),
    (b"MM\x00*", "image/tiff"),
    (b"\x00\x00\x01\x00", "image/x-icon"),
)
_EXTENSIONS = {"image/jpeg": "jpg", "image/svg+xml": "svg", "image/x-icon": "ico", "image/*": "img"}
_SUFFIX_TYPES = {
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    "svg": "image/svg+xml",
    "tif": "image/tiff",
    "ico": "image/x-icon",
}

_may_read_files: ContextVar[bool] = ContextVar("pfl_image_files", default=True)


@contextmanager
def image_files(*, allowed: bool) -> Iterator[None]:
    """Whether values may name image files inside this block: what a stranger sent must not, the author's own may."""
    token = _may_read_files.set(allowed)
    try:
        yield
    finally:
        _may_read_files.reset(token)


class Image(bytes):
    """The bytes of an image; equal and hashed by content.

    Args:
        value: The encoded image.
        mime_type: Such as `image/png`; guessed from the content when not given.
        source_url: Where it came from; models that take URLs get this one.
    """

    _mime_type: str
    source_url: str | None

    def __new__(cls, value: bytes = b"", mime_type: str | None = None, source_url: str | None = None) -> Image:
        return super().__new__(cls, value)

    def __init__(self, value: bytes = b"", mime_type: str | None = None, source_url: str | None = None) -> None:
        super().__init__()
        self._mime_type = mime_type or guess_mime_type(bytes(value[:512])) or "image/*"
        self.source_url = source_url
        self._hash = hashlib.sha1(bytes(value) or (source_url or "").encode(), usedforsecurity=False).hexdigest()[:8]

    def __str__(self) -> str:
        return f"Image({self._hash})"

    __repr__ = __str__

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Image):
            return False

        same_source = bool(self) or self.source_url == other.source_url
        return bytes(self) == bytes(other) and same_source

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash(self._hash)

    @property
    def mime_type(self) -> str:
        return self._mime_type

    def to_base64(self, with_type: bool = False) -> str:
        """The content in base64; with `with_type` as a `data:` URI."""
        text = base64.b64encode(self).decode()
        return f"data:{self._mime_type};base64,{text}" if with_type else text

    def __jsonable__(self) -> dict[str, Any]:
        return to_item(self)


class Text(str):
    """A text item of an `openai-vision` message."""

    __slots__ = ()


def guess_mime_type(head: bytes) -> str | None:
    """The image type that the first bytes show, else None."""
    for signature, mime_type in _SIGNATURES:
        if head.startswith(signature):
            return mime_type

    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "image/webp"

    if head[4:12] in (b"ftypavif", b"ftypheic"):
        return f"image/{head[8:12].decode()}"

    return "image/svg+xml" if b"<svg" in head[:512] else None


def is_media_item(value: Any, message_format: MessageFormat = "basic") -> bool:
    """Whether a mapping encodes an image or text item in this message format."""
    if not isinstance(value, dict):
        return False

    if len(value) == 1:
        key = next(iter(value))
        if isinstance(key, str) and _BASIC_KEY.match(key):
            return True

    kind = value.get("type")
    return message_format == "openai-vision" and isinstance(kind, str) and kind in _VISION_KINDS and kind in value


_VISION_KINDS = ("image_url", "image_file", "text")


def load_item(value: dict[str, Any], *, root: Path, fetch_urls: bool = True) -> Image | Text:
    """The image or text that a mapping of either message format encodes.

    Args:
        value: `{"data:image/png;path": …}` or `{"type": "image_url", "image_url": {"url": …}}` and the like.
        root: The folder that paths are relative to.
        fetch_urls: Whether to download images given by URL; without, they keep the URL and have no content.
    Raises:
        InvalidImageInput: the mapping encodes none, or its content cannot be had.
    """
    key = next(iter(value), None)
    match = _BASIC_KEY.match(key) if isinstance(key, str) and len(value) == 1 else None
    if match and key is not None:
        mime_type, encoding = f"image/{match.group(1)}", match.group(2)
        return _load_encoded(encoding, value[key], mime_type, root, fetch_urls)

    kind = value.get("type")
    item = value.get(kind) if isinstance(kind, str) else None
    if kind == "text" and isinstance(item, str):
        return Text(item)

    if kind == "image_file" and isinstance(item, dict):
        return _load_encoded("path", item.get("path"), None, root, fetch_urls)

    if kind == "image_url" and isinstance(item, dict) and isinstance(item.get("url"), str):
        url = item["url"]
        encoding = "base64" if _DATA_URI.match(url) else "url"
        return _load_encoded(encoding, url, None, root, fetch_urls)

    raise InvalidImageInput(
        f"A mapping with the keys {sorted(map(str, value))[:5]} is not an image.",
        hint='Write {"data:image/png;path": "file.png"}, or the base64 or url form of it.',
    )


def _load_encoded(encoding: str, content: Any, mime_type: str | None, root: Path, fetch_urls: bool) -> Image:
    if not isinstance(content, str):
        raise InvalidImageInput(f"The {encoding} of an image must be text, not {type(content).__name__}.")

    if mime_type in ("image/*", "image/"):
        mime_type = None

    if encoding == "base64":
        return _load_base64(content, mime_type)

    if encoding == "url":
        return load_url(content, mime_type, fetch_urls=fetch_urls)

    return _load_path(content, mime_type, root)


def _load_base64(text: str, mime_type: str | None) -> Image:
    match = _DATA_URI.match(text)
    if match:
        mime_type = mime_type or match.group(1)
        text = text[match.end() :]

    try:
        return Image(base64.b64decode("".join(text.split()), validate=True), mime_type)
    except (binascii.Error, ValueError) as error:
        raise InvalidImageInput(f"The image is not valid base64: {error}.") from error


def load_url(url: str, mime_type: str | None = None, *, fetch_urls: bool = True) -> Image:
    """An image by URL; without `fetch_urls` it has no content, only its URL."""
    if not url.lower().startswith(("http://", "https://")):
        raise InvalidImageInput(f"{url[:80]!r} is not an http or https URL.")

    if not fetch_urls:
        return Image(b"", mime_type, url)

    content, content_type = fetch_bytes(url, max_bytes=MAX_IMAGE_BYTES)
    declared = content_type if content_type.startswith("image/") else None
    return Image(content, mime_type or declared or guess_mime_type(content[:512]), url)


def _load_path(text: str, mime_type: str | None, root: Path) -> Image:
    if not _may_read_files.get():
        hint = "Send the image in base64."
        raise InvalidImageInput("Images cannot be given by path here.", hint=hint)

    try:
        path = root / text
        if path.stat().st_size > MAX_IMAGE_BYTES:
            raise InvalidImageInput(f"The image {text!r} is larger than {MAX_IMAGE_BYTES // 2**20} MiB.")

        content = path.read_bytes()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        hint = f"Paths are relative to {str(root)!r}."
        raise InvalidImageInput(f"The image file {text[:200]!r} cannot be read: {reason}.", hint=hint) from error

    suffix = path.suffix.lower().lstrip(".")
    by_suffix = _SUFFIX_TYPES.get(suffix) or (
        f"image/{suffix}" if suffix in ("png", "gif", "webp", "bmp", "tiff") else None
    )
    return Image(content, mime_type or guess_mime_type(content[:512]) or by_suffix)


def load_image(value: Any, *, root: Path, fetch_urls: bool = True) -> Image:
    """The value of an input of type `image`: a mapping of either format, or a base64, data-URI, URL or path text.

    Raises:
        InvalidImageInput: it is no image.
    """
    if isinstance(value, Image):
        return value

    if isinstance(value, dict):
        loaded = load_item(value, root=root, fetch_urls=fetch_urls)
        if isinstance(loaded, Image):
            return loaded

        raise InvalidImageInput("A text item is not an image.")

    if isinstance(value, str) and value:
        return _load_text(value, root, fetch_urls)

    if isinstance(value, bytes):
        return Image(value)

    raise InvalidImageInput(f"A value of type {type(value).__name__} is not an image.")


def item_of_text(text: str) -> dict[str, Any] | None:
    """The mapping that a text such as `data:image/png;path: a.png` stands for; None for any other text."""
    match = _ITEM_TEXT.match(text)
    return {match.group(1): match.group(2).strip()} if match else None


def _load_text(text: str, root: Path, fetch_urls: bool) -> Image:
    item = item_of_text(text)
    if item is not None:
        return load_image(item, root=root, fetch_urls=fetch_urls)

    if text.lower().startswith(("http://", "https://")):
        return load_url(text, fetch_urls=fetch_urls)

    if _DATA_URI.match(text):
        return _load_base64(text, None)

    looks_like_path = len(text) < 1024 and (re.search(r"\.\w{2,5}\Z", text) or _is_file(root, text))
    return _load_path(text, None, root) if looks_like_path else _load_base64(text, None)


def _is_file(root: Path, text: str) -> bool:
    """Whether the text names a file; where none may be read, neither does anybody learn which exist."""
    try:
        return _may_read_files.get() and (root / text).is_file()
    except (OSError, ValueError):
        return False


def load_media(
    value: Any,
    *,
    root: Path,
    message_format: MessageFormat = "basic",
    fetch_urls: bool = True,
) -> Any:
    """A value with every image item inside it, at any depth, replaced by its `Image` (or `Text`).

    The value itself is returned when it holds none.
    """
    if isinstance(value, dict):
        if is_media_item(value, message_format):
            return load_item(value, root=root, fetch_urls=fetch_urls)

        changed = {
            key: load_media(item, root=root, message_format=message_format, fetch_urls=fetch_urls)
            for key, item in value.items()
        }
        return changed if any(changed[key] is not value[key] for key in value) else value

    if isinstance(value, list):
        items = [load_media(item, root=root, message_format=message_format, fetch_urls=fetch_urls) for item in value]
        return items if any(new is not old for new, old in zip(items, value, strict=True)) else value

    return value


def absolute_media_paths(value: Any, folder: Path) -> Any:
    """A value with relative image paths inside it made absolute, as those of a data file need."""
    if isinstance(value, dict):
        if len(value) == 1:
            key, content = next(iter(value.items()))
            match = _BASIC_KEY.match(key) if isinstance(key, str) else None
            if match and match.group(2) == "path" and isinstance(content, str):
                return {key: str(folder / content)}

        if value.get("type") == "image_file" and isinstance(value.get("image_file"), dict):
            path = value["image_file"].get("path")
            return {**value, "image_file": {**value["image_file"], "path": str(folder / path)}} if path else value

        return {key: absolute_media_paths(item, folder) for key, item in value.items()}

    return [absolute_media_paths(item, folder) for item in value] if isinstance(value, list) else value


def contains_media(value: Any) -> bool:
    """Whether a value is or holds an `Image`."""
    kind = type(value)
    if kind is dict:
        return any(contains_media(item) for item in value.values())

    if kind is list or kind is tuple:
        return any(contains_media(item) for item in value)

    return isinstance(value, Image)


def to_item(image: Image, message_format: MessageFormat = "basic", *, path: str | None = None) -> dict[str, Any]:
    """The mapping that encodes an image: by path when given, else by its URL, else in base64."""
    if message_format == "openai-vision":
        if path is not None:
            return {"type": "image_file", "image_file": {"path": path}}

        return {"type": "image_url", "image_url": {"url": image.source_url or image.to_base64(with_type=True)}}

    encoding = "path" if path is not None else "url" if image.source_url else "base64"
    content = path or image.source_url or image.to_base64()
    return {f"data:{image.mime_type};{encoding}": content}


def persist_media(
    value: Any, folder: Path, *, relative_to: Path | None = None, message_format: MessageFormat = "basic"
) -> Any:
    """A value with every image written to `folder` and replaced by its path mapping; URL images keep their URL.

    Args:
        value: Any value; returned as it is when it holds no image.
        folder: Where the files go; made when needed. Equal images share a file.
        relative_to: Paths are written relative to this folder; absolute when None.
        message_format: The form of the mappings.
    """
    if not contains_media(value):
        return value

    return _replace_media(value, lambda image: _persist(image, folder, relative_to, message_format))


def media_to_json(value: Any, message_format: MessageFormat = "basic") -> Any:
    """A value with every image replaced by its URL or base64 mapping, as HTTP responses need."""
    return _replace_media(value, lambda image: to_item(image, message_format)) if contains_media(value) else value


def _replace_media(value: Any, replace: Any) -> Any:
    if isinstance(value, Image):
        return replace(value)

    if isinstance(value, dict):
        return {key: _replace_media(item, replace) for key, item in value.items()}

    return [_replace_media(item, replace) for item in value] if isinstance(value, list | tuple) else value


def _persist(image: Image, folder: Path, relative_to: Path | None, message_format: MessageFormat) -> dict[str, Any]:
    if image.source_url:
        return to_item(image, message_format)

    folder.mkdir(parents=True, exist_ok=True)
    subtype = image.mime_type.partition("/")[2]
    extension = _EXTENSIONS.get(image.mime_type) or re.sub(r"\W", "", subtype) or "img"
    file = folder / f"{uuid.UUID(bytes=hashlib.sha256(image).digest()[:16])}.{extension}"
    if not file.exists():
        file.write_bytes(image)

    shown = file.relative_to(relative_to) if relative_to is not None else file.absolute()
    return to_item(image, message_format, path=shown.as_posix())
