"""Colours of charts."""

from __future__ import annotations

import altair as alt

SERIES = alt.Scale(range=["#4263eb", "#f08c00", "#2f9e44", "#c2255c", "#1098ad", "#9c36b5"])
"""Colours of series, apart from each other in light and dark."""
