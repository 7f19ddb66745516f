"""Charts as inline SVG text; colours come from the page's style sheet, so they follow light and dark."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

from promptflow_lite._utils.text import truncate

_WIDTH = 620
_ROW = 36
_TOP = 10
_AXIS = 34
_LABEL = 186
_VALUE = 96


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One line of a forest plot: a value with its interval."""

    label: str
    value: float
    low: float | None
    high: float | None
    text: str
    """The value in words, at the right."""
    style: str = "plain"
    """Class of the mark: `plain`, `better`, `worse`, `inconclusive`."""


def forest(bars: Sequence[Bar], *, tick: Callable[[float], str], zero: float | None = None, title: str = "") -> str:
    """Values with their intervals on a common axis.

    Args:
        bars: From top to bottom.
        tick: How a value on the axis is written.
        zero: Where to draw a reference line.
        title: For readers who hear the page.
    """
    if not bars:
        return ""

    edges = [edge for bar in bars for edge in (bar.value, bar.low, bar.high) if edge is not None]
    ticks = _ticks(
        min([*edges, *([zero] if zero is not None else [])]), max([*edges, *([zero] if zero is not None else [])])
    )
    left, right = _LABEL, _WIDTH - _VALUE
    height = _TOP + _ROW * len(bars) + _AXIS

    def x(value: float) -> float:
        return left + (value - ticks[0]) / (ticks[-1] - ticks[0]) * (right - left)

    parts = [_open(height, title)]
    bottom = _TOP + _ROW * len(bars)
    for value in ticks:
        parts.append(f'<line class="grid" x1="{x(value):.1f}" x2="{x(value):.1f}" y1="{_TOP}" y2="{bottom}"/>')
        parts.append(f'<text class="tick" x="{x(value):.1f}" y="{bottom + 18}">{escape(tick(value))}</text>')

    if zero is not None:
        parts.append(f'<line class="zero" x1="{x(zero):.1f}" x2="{x(zero):.1f}" y1="{_TOP}" y2="{bottom}"/>')

    for index, bar in enumerate(bars):
        parts.append(_bar(bar, _TOP + _ROW * index + _ROW / 2, x))

    return "".join([*parts, "</svg>"])


def _bar(bar: Bar, y: float, x: Callable[[float], float]) -> str:
    label = (
        f'<text class="label" x="{_LABEL - 12}" y="{y + 4:.1f}">{escape(truncate(bar.label, 22))}'
        f"<title>{escape(bar.label)}</title></text>"
    )
    line = ""
    if bar.low is not None and bar.high is not None:
        line = (
            f'<line class="whisker {bar.style}" x1="{x(bar.low):.1f}" x2="{x(bar.high):.1f}" y1="{y}" y2="{y}"/>'
            + "".join(
                f'<line class="whisker {bar.style}" x1="{x(edge):.1f}" x2="{x(edge):.1f}" y1="{y - 5}" y2="{y + 5}"/>'
                for edge in (bar.low, bar.high)
            )
        )

    dot = f'<circle class="dot {bar.style}" cx="{x(bar.value):.1f}" cy="{y}" r="5.5"/>'
    value = f'<text class="value" x="{_WIDTH - _VALUE + 14}" y="{y + 4:.1f}">{escape(bar.text)}</text>'
    return label + line + dot + value


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One variant in a scatter plot."""

    label: str
    x: float
    y: float
    is_marked: bool


def scatter(
    points: Sequence[Point],
    *,
    x_tick: Callable[[float], str],
    y_tick: Callable[[float], str],
    x_name: str,
    y_name: str,
) -> str:
    """Score against what it costs; marked points are the ones nothing else beats."""
    if not points:
        return ""

    height, left, right, top = 300, 74, _WIDTH - 24, 18
    bottom = height - 52
    xs = _ticks(0.0, max(point.x for point in points))
    ys = _ticks(min(point.y for point in points), max(point.y for point in points))

    def px(value: float) -> float:
        return left + (value - xs[0]) / (xs[-1] - xs[0]) * (right - left)

    def py(value: float) -> float:
        return bottom - (value - ys[0]) / (ys[-1] - ys[0]) * (bottom - top)

    parts = [_open(height, f"{y_name} against {x_name}")]
    for value in xs:
        parts.append(f'<line class="grid" x1="{px(value):.1f}" x2="{px(value):.1f}" y1="{top}" y2="{bottom}"/>')
        parts.append(f'<text class="tick" x="{px(value):.1f}" y="{bottom + 18}">{escape(x_tick(value))}</text>')

    for value in ys:
        parts.append(f'<line class="grid" x1="{left}" x2="{right}" y1="{py(value):.1f}" y2="{py(value):.1f}"/>')
        parts.append(f'<text class="label" x="{left - 10}" y="{py(value) + 4:.1f}">{escape(y_tick(value))}</text>')

    parts.append(f'<text class="axis" x="{(left + right) / 2:.1f}" y="{height - 10}">{escape(x_name)}</text>')
    for point in points:
        style = "better" if point.is_marked else "inconclusive"
        flip = px(point.x) > right - 130
        anchor, offset = ("end", -11) if flip else ("start", 11)
        parts.append(f'<circle class="dot {style}" cx="{px(point.x):.1f}" cy="{py(point.y):.1f}" r="6.5"/>')
        parts.append(
            f'<text class="name" text-anchor="{anchor}" x="{px(point.x) + offset:.1f}" y="{py(point.y) + 4:.1f}">'
            f"{escape(truncate(point.label, 26))}</text>"
        )

    return "".join([*parts, "</svg>"])


def balance(wins: int, losses: int, ties: int) -> str:
    """Wins, ties and losses as one bar."""
    total = max(wins + losses + ties, 1)
    shares = [("better", wins), ("tie", ties), ("worse", losses)]
    cells = "".join(
        f'<span class="{style}" style="flex-grow:{count / total:.6f}" title="{count:,}"></span>'
        for style, count in shares
        if count
    )
    return f'<div class="balance" role="img" aria-label="{wins:,} wins, {losses:,} losses, {ties:,} ties">{cells}</div>'


def _open(height: int, title: str) -> str:
    return (
        f'<svg class="chart" viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="{escape(title, quote=True)}" '
        'xmlns="http://www.w3.org/2000/svg">'
    )


def _ticks(low: float, high: float) -> list[float]:
    """Four to seven round values around a range."""
    if math.isclose(low, high):
        pad = abs(low) * 0.1 or 0.5
        low, high = low - pad, high + pad

    raw = (high - low) / 4
    magnitude = 10 ** math.floor(math.log10(raw))
    step = next(magnitude * factor for factor in (1, 2, 2.5, 5, 10) if magnitude * factor >= raw * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(index * step, 12) for index in range(first, last + 1)]
