"""Watching what endpoints answered: traffic, judged samples, drift, alerts, and the way back into data sets."""

from promptflow_lite.monitoring.alerts import AlertBook, AlertRule, channels_from, parse_rule
from promptflow_lite.monitoring.drift import Drift, measure_drift
from promptflow_lite.monitoring.harvest import data_rows, save_as_run, worst_requests, write_rows
from promptflow_lite.monitoring.judging import (
    Evaluator,
    compare_deployments,
    judge_endpoint,
    load_evaluator,
    summarize_scores,
)
from promptflow_lite.monitoring.traffic import summarize_traffic
from promptflow_lite.monitoring.watch import Watch, WatchSettings, drift_against_run

__all__ = [
    "AlertBook",
    "AlertRule",
    "Drift",
    "Evaluator",
    "Watch",
    "WatchSettings",
    "channels_from",
    "compare_deployments",
    "data_rows",
    "drift_against_run",
    "judge_endpoint",
    "load_evaluator",
    "measure_drift",
    "parse_rule",
    "save_as_run",
    "summarize_scores",
    "summarize_traffic",
    "worst_requests",
    "write_rows",
]
