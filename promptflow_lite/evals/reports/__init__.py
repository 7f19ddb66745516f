"""A comparison for people and programs: terminal table, Markdown, JSON, CSV, a self-contained HTML page, JUnit XML."""

from promptflow_lite.evals.reports.html import render_html
from promptflow_lite.evals.reports.text import render_csv, render_json, render_markdown, render_table
from promptflow_lite.evals.reports.words import headline, pair_sentence

__all__ = ["headline", "pair_sentence", "render_csv", "render_html", "render_json", "render_markdown", "render_table"]
