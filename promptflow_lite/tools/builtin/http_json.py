"""JSON over HTTP for tools that call services of their own; errors name the service and never show the key."""

from __future__ import annotations

import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from typing import Any

from promptflow_lite.connections import SCRUBBED
from promptflow_lite.errors import ProviderError, ProviderTimeoutError, ProviderUnavailableError

TIMEOUT_S = 60.0
_HINTS = {
    401: "Check api_key of the connection.",
    403: "The key does not allow this operation.",
    404: "Check the address in the connection.",
    429: "The service limits how often it may be asked; try later.",
}


def request_json(
    service: str,
    url: str,
    *,
    secret: str | None,
    body: Any = None,
    query: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
    timeout_s: float = TIMEOUT_S,
) -> Any:
    """GET, or POST when there is a body, and parse the answer.

    Raises:
        ProviderError: the service refused, did not answer, or answered no JSON.
    """
    if not url.startswith(("http://", "https://")):
        raise ProviderError(f"The address {url!r} of {service} is no web address.", hint="It starts with https://.")

    address = f"{url}?{urllib.parse.urlencode(query)}" if query else url
    data = None if body is None else json.dumps(body).encode()
    sent = {"Content-Type": "application/json", **(headers or {})}
    request = urllib.request.Request(address, data=data, headers=sent)  # noqa: S310  the scheme was checked
    try:
        with urllib.request.urlopen(request, timeout=timeout_s) as answer:  # noqa: S310
            return json.loads(answer.read())
    except urllib.error.HTTPError as error:
        with error:
            text = _scrub(error.read(2000).decode("utf-8", "replace"), secret)
        raise ProviderError(
            f"{service} answered {error.code}: {text}",
            hint=_HINTS.get(error.code, "See the service's message."),
            status=error.code,
        ) from None
    except TimeoutError:
        raise ProviderTimeoutError(f"{service} did not answer within {timeout_s:g} s.", hint="Try later.") from None
    except OSError as error:
        raise ProviderUnavailableError(
            f"{service} cannot be reached: {_scrub(str(error), secret)}", hint=f"Nothing answers at {url}."
        ) from None
    except ValueError:
        raise ProviderError(f"{service} did not answer with JSON.", hint=f"Check the address {url}.") from None


def _scrub(text: str, secret: str | None) -> str:
    return text.replace(secret, SCRUBBED) if secret else text
