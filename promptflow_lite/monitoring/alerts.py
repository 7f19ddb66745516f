"""Rules over an endpoint's recent traffic, and where a broken one is told: log, webhook, e-mail."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from promptflow_lite._utils.jsonable import dumps_bytes
from promptflow_lite.errors import ServingError
from promptflow_lite.monitoring.traffic import quantile
from promptflow_lite.records import AlertRecord, RequestScore, ServedRequest

logger = logging.getLogger("promptflow.alerts")

MEASURES = ("requests", "error_rate", "p50_ms", "p95_ms", "p99_ms", "first_token_p95_ms", "tokens", "cost")
_RULE = re.compile(
    r"^\s*(?P<measure>\w+|score\((?P<metric>[\w.]+)\))\s*(?P<op>>=|<=|>|<)\s*(?P<limit>-?[\d.]+)(?P<percent>%?)"
    r"(\s+over\s+(?P<n>\d+)(?P<unit>[smhd]))?(\s+on\s+(?P<deployment>\S+))?\s*$"
)
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_COMPARE: dict[str, Callable[[float, float], bool]] = {
    ">": lambda a, b: a > b,
    "<": lambda a, b: a < b,
    ">=": lambda a, b: a >= b,
    "<=": lambda a, b: a <= b,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertRule:
    """`error_rate > 5% over 10m on v2`"""

    text: str
    measure: str
    operator: str
    limit: float
    window_s: float = 300.0
    deployment: str | None = None
    metric: str | None = None
    """Name of the score when the measure is `score`."""


def parse_rule(text: str) -> AlertRule:
    """Read a rule. Raises `ServingError` when it is none."""
    match = _RULE.match(text)
    measure = "" if match is None else "score" if match["metric"] else match["measure"]
    if match is None or measure not in (*MEASURES, "score"):
        raise ServingError(
            f"{text!r} is no alert rule.",
            hint=f"Write for example: error_rate > 5% over 10m. Measures: {', '.join(MEASURES)}, score(metric).",
        )

    limit = float(match["limit"]) / (100 if match["percent"] else 1)
    window_s = float(match["n"]) * _UNITS[match["unit"]] if match["n"] else 300.0
    return AlertRule(
        text=text.strip(),
        measure=measure,
        operator=match["op"],
        limit=limit,
        window_s=window_s,
        deployment=match["deployment"],
        metric=match["metric"],
    )


def measure_rule(
    rule: AlertRule, records: Sequence[ServedRequest], scores: Sequence[tuple[ServedRequest, RequestScore]], now: float
) -> float | None:
    """The value that the rule is about; None when nothing in its window says anything."""
    start = now - rule.window_s
    if rule.measure == "score":
        values = [
            s.value for r, s in scores if s.metric == rule.metric and s.value is not None and _fits(rule, r, start)
        ]
        return sum(values) / len(values) if values else None

    rows = [record for record in records if _fits(rule, record, start) and not record.is_shadow]
    if rule.measure == "requests":
        return float(len(rows))

    return _measure(rule.measure, rows) if rows else None


def _fits(rule: AlertRule, record: ServedRequest, start: float) -> bool:
    return record.start_time >= start and rule.deployment in (None, record.deployment)


def _measure(measure: str, rows: Sequence[ServedRequest]) -> float | None:
    if measure == "error_rate":
        return sum(row.status_code >= 400 for row in rows) / len(rows)

    if measure == "tokens":
        return float(sum(row.prompt_tokens + row.completion_tokens for row in rows))

    if measure == "cost":
        return sum(row.cost for row in rows)

    q = int(re.findall(r"p(\d+)", measure)[0]) / 100
    values = [row.first_token_ms for row in rows] if measure.startswith("first") else [row.duration_ms for row in rows]
    return quantile(sorted(value for value in values if value is not None), q)


class Channel(Protocol):
    """Tells somebody about an alert."""

    def send(self, alert: AlertRecord) -> None: ...


class LogChannel:
    """Writes alerts to the log `promptflow.alerts`."""

    def send(self, alert: AlertRecord) -> None:
        logger.warning("%s on %s: %s", alert.state, alert.endpoint, alert.message)


@dataclass(frozen=True, slots=True)
class WebhookChannel:
    """Posts alerts as JSON."""

    url: str
    timeout_s: float = 10.0

    def send(self, alert: AlertRecord) -> None:
        import urllib.request
        from dataclasses import asdict

        if not self.url.startswith(("http://", "https://")):
            raise ServingError(f"{self.url!r} is no web address.")

        body = dumps_bytes(asdict(alert))
        request = urllib.request.Request(self.url, body, {"content-type": "application/json"})  # noqa: S310
        with urllib.request.urlopen(request, timeout=self.timeout_s) as response:  # noqa: S310  # checked above
            response.read()


@dataclass(frozen=True, slots=True, kw_only=True)
class EmailChannel:
    """Sends alerts by SMTP."""

    to: str
    sender: str = "promptflow@localhost"
    host: str = "localhost"
    port: int = 25

    def send(self, alert: AlertRecord) -> None:
        import smtplib
        from email.message import EmailMessage

        message = EmailMessage()
        message["Subject"] = f"[{alert.state}] {alert.endpoint}: {alert.rule}"
        message["From"], message["To"] = self.sender, self.to
        message.set_content(alert.message)
        with smtplib.SMTP(self.host, self.port, timeout=10) as server:
            server.send_message(message)


class AlertBook:
    """Remembers which rules are broken, so that each is told when it breaks and when it holds again, and not between.

    Args:
        endpoint: Name of the endpoint.
        rules: What to check.
        channels: Whom to tell.
        on_alert: Keeps alerts, such as the store does.
    """

    def __init__(
        self,
        endpoint: str,
        rules: Sequence[AlertRule],
        channels: Sequence[Channel],
        *,
        on_alert: Callable[[AlertRecord], None] | None = None,
    ) -> None:
        self._endpoint = endpoint
        self._rules = rules
        self._channels = channels
        self._on_alert = on_alert
        self._firing: set[str] = set()

    @property
    def window_s(self) -> float:
        """How far back the longest rule looks."""
        return max((rule.window_s for rule in self._rules), default=0.0)

    def check(
        self,
        records: Sequence[ServedRequest],
        scores: Sequence[tuple[ServedRequest, RequestScore]] = (),
        *,
        now: float | None = None,
    ) -> list[AlertRecord]:
        """Check every rule and tell what changed; a channel that fails does not keep others from being told."""
        now = time.time() if now is None else now
        changed = []
        for rule in self._rules:
            value = measure_rule(rule, records, scores, now)
            if value is None:
                continue

            is_broken = _COMPARE[rule.operator](value, rule.limit)
            if is_broken != (rule.text in self._firing):
                (self._firing.add if is_broken else self._firing.discard)(rule.text)
                changed.append(self._tell(rule, value, now, is_broken=is_broken))
        return changed

    def _tell(self, rule: AlertRule, value: float, now: float, *, is_broken: bool) -> AlertRecord:
        alert = AlertRecord(
            at=now,
            endpoint=self._endpoint,
            rule=rule.text,
            value=value,
            message=f"{rule.text}: the value is {value:.4g}." if is_broken else f"{rule.text}: over, now {value:.4g}.",
            state="firing" if is_broken else "resolved",
        )
        if self._on_alert is not None:
            self._on_alert(alert)

        for channel in self._channels:
            try:
                channel.send(alert)
            except Exception:  # a mail server that is down must not stop the watch
                logger.exception("An alert could not be sent by %s.", type(channel).__name__)
        return alert


def channels_from(targets: Sequence[str], options: Mapping[str, Any] | None = None) -> list[Channel]:
    """Channels from their short forms: `log`, `https://…`, `mailto:ops@example.com`. Raises `ServingError`."""
    found: list[Channel] = []
    for target in targets:
        if target == "log":
            found.append(LogChannel())
        elif target.startswith(("http://", "https://")):
            found.append(WebhookChannel(target))
        elif target.startswith("mailto:"):
            found.append(EmailChannel(to=target.removeprefix("mailto:"), **(options or {})))
        else:
            raise ServingError(f"{target!r} is no channel.", hint="Use log, a web address, or mailto:address.")

    return found
