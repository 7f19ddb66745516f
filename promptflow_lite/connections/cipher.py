"""Secrets at rest: Fernet encryption with a key file that only its owner can read; no system keyring is involved."""

from __future__ import annotations

import contextlib
import os
import secrets as random_source
from pathlib import Path
from typing import TYPE_CHECKING

from promptflow_lite.errors import DecryptConnectionError, StoreConnectionEncryptionKeyError
from promptflow_lite.settings import home

if TYPE_CHECKING:
    from cryptography.fernet import MultiFernet

KEY_FILE = "connections.key"


class Cipher:
    """Encrypts with the newest key of a key file and decrypts with any of them.

    The file holds one key a line, newest first, and is created with mode 0600 on first use.

    Args:
        path: The key file; by default `connections.key` in the state folder.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._loaded: tuple[bytes, MultiFernet] | None = None

    def __repr__(self) -> str:
        return f"Cipher({str(self.path)!r})"

    @property
    def path(self) -> Path:
        return self._path or home() / KEY_FILE

    def encrypt(self, text: str) -> str:
        """A token that `decrypt` turns back into the text."""
        return self._fernet(create=True).encrypt(text.encode()).decode()

    def decrypt(self, token: str, *, what: str = "a secret") -> str:
        """The text behind a token.

        Raises:
            DecryptConnectionError: no key of the file fits, or there is no key file.
        """
        from cryptography.fernet import InvalidToken

        try:
            return self._fernet(create=False).decrypt(token.encode()).decode()
        except (InvalidToken, FileNotFoundError) as error:
            raise DecryptConnectionError(
                f"Cannot decrypt {what}: the key file {str(self.path)!r} does not fit.",
                hint="Put the key file of that time back, or store the connection again.",
                path=str(self.path),
            ) from error

    def rotate(self) -> None:
        """Put a new key first; tokens of older keys can still be read until `retire_old_keys`."""
        keys = self._read_keys() if self.path.exists() else []
        self._replace([_new_key(), *keys])

    def reencrypt(self, token: str) -> str:
        """The same text under the newest key."""
        return self.encrypt(self.decrypt(token))

    def retire_old_keys(self) -> None:
        """Forget all keys but the newest; call it after every stored token was re-encrypted."""
        self._replace(self._read_keys()[:1])

    def _fernet(self, *, create: bool) -> MultiFernet:
        from cryptography.fernet import Fernet, MultiFernet

        if create and not self.path.exists():
            self._create()

        content = self.path.read_bytes()
        if self._loaded is None or self._loaded[0] != content:
            try:
                fernets = [Fernet(key) for key in content.split()]
                self._loaded = (content, MultiFernet(fernets))
            except ValueError as error:
                raise StoreConnectionEncryptionKeyError(
                    f"The key file {str(self.path)!r} holds no valid key.",
                    hint="Restore it from a backup; without it stored secrets cannot be read.",
                ) from error

        return self._loaded[1]

    def _read_keys(self) -> list[bytes]:
        return self.path.read_bytes().split()

    def _create(self) -> None:
        """Create the file unless another process was faster; a reader never sees it half-written."""
        draft = self._write_draft([_new_key()])
        with contextlib.suppress(FileExistsError):
            os.link(draft, self.path)

        draft.unlink()

    def _replace(self, keys: list[bytes]) -> None:
        self._write_draft(keys).replace(self.path)

    def _write_draft(self, keys: list[bytes]) -> Path:
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        draft = self.path.with_name(f".{self.path.name}.{random_source.token_hex(8)}")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as handle:
                handle.write(b"\n".join(keys) + b"\n")
                handle.flush()
                os.fsync(handle.fileno())
        except BaseException:
            draft.unlink()
            raise

        return draft


def _new_key() -> bytes:
    from cryptography.fernet import Fernet

    return Fernet.generate_key()
