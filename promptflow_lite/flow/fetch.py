"""Downloading a URL that a user's data names, without being led into private networks.

Each host is resolved once, every address is checked, and the connection goes to the checked address; redirects are
followed by hand so that each hop is checked the same way.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

from promptflow_lite.errors import InvalidImageInput
from promptflow_lite.settings import env_bool

if TYPE_CHECKING:
    import http.client
    import socket

MAX_REDIRECTS = 5
TIMEOUT_S = 20.0
_REDIRECTS = (301, 302, 303, 307, 308)


def fetch_bytes(url: str, *, max_bytes: int, allow_private: bool | None = None) -> tuple[bytes, str]:
    """The body and content type behind a URL.

    Args:
        url: An http or https URL.
        max_bytes: Larger bodies are refused.
        allow_private: Whether loopback and private addresses may be reached; None asks `PFL_ALLOW_PRIVATE_URLS`.
    Raises:
        InvalidImageInput: the URL is refused or cannot be read.
    """
    import http.client

    if allow_private is None:
        allow_private = env_bool("PFL_ALLOW_PRIVATE_URLS")

    try:
        return _follow(url, max_bytes, allow_private)
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise InvalidImageInput(f"The URL {url[:200]!r} cannot be read: {error}.") from error


def _follow(url: str, max_bytes: int, allow_private: bool) -> tuple[bytes, str]:
    for _ in range(MAX_REDIRECTS + 1):
        connection = _connect(url, allow_private)
        try:
            parts = urlsplit(url)
            target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
            connection.request("GET", target, headers={"Accept": "image/*", "User-Agent": "promptflow-lite"})
            response = connection.getresponse()
            location = response.getheader("Location")
            if response.status in _REDIRECTS and location:
                url = urljoin(url, location)
                continue

            return _body(response, url, max_bytes)
        finally:
            connection.close()

    raise InvalidImageInput(f"The URL redirects more than {MAX_REDIRECTS} times.")


def _body(response: http.client.HTTPResponse, url: str, max_bytes: int) -> tuple[bytes, str]:
    if response.status != 200:
        raise InvalidImageInput(f"The URL {url[:200]!r} answers with status {response.status}.")

    body = response.read(max_bytes + 1)
    if len(body) > max_bytes:
        raise InvalidImageInput(f"The content of {url[:200]!r} is larger than {max_bytes // 2**20} MiB.")

    return body, (response.getheader("Content-Type") or "").partition(";")[0].strip().lower()


def _connect(url: str, allow_private: bool) -> http.client.HTTPConnection:
    import http.client
    import ssl

    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InvalidImageInput(f"{url[:80]!r} is not an http or https URL.")

    host = parts.hostname
    port = parts.port or (443 if parts.scheme == "https" else 80)
    raw = _open_socket(host, port, allow_private)
    connection: http.client.HTTPConnection
    if parts.scheme == "https":
        connection = http.client.HTTPSConnection(host, port, timeout=TIMEOUT_S)
        try:
            connection.sock = ssl.create_default_context().wrap_socket(raw, server_hostname=host)
        except BaseException:
            raw.close()
            raise
    else:
        connection = http.client.HTTPConnection(host, port, timeout=TIMEOUT_S)
        connection.sock = raw

    return connection


def _open_socket(host: str, port: int, allow_private: bool) -> socket.socket:
    import socket

    addresses = [str(info[4][0]) for info in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
    if not allow_private:
        for address in addresses:
            if not is_public(address):
                raise InvalidImageInput(
                    f"The host {host!r} has the private address {address}, which is not fetched.",
                    hint="Set PFL_ALLOW_PRIVATE_URLS=true to allow addresses of your own network.",
                )

    return socket.create_connection((addresses[0], port), timeout=TIMEOUT_S)


def is_public(address: str) -> bool:
    """Whether an IP address is reachable from everywhere: not loopback, private, link-local, multicast or reserved."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    mapped = getattr(ip, "ipv4_mapped", None) or getattr(ip, "sixtofour", None)
    if mapped is not None:
        return is_public(str(mapped))

    return ip.is_global and not ip.is_multicast
