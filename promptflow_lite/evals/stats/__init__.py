"""Statistics of evaluations: intervals, paired tests, agreement, power and sequential stopping; pure and seeded."""

from promptflow_lite.evals.stats.agreement import cohen_kappa, krippendorff_alpha
from promptflow_lite.evals.stats.intervals import (
    MIN_ROWS,
    bootstrap_interval,
    cluster_interval,
    mean_interval,
    prediction_powered_interval,
    wilson_interval,
)
from promptflow_lite.evals.stats.paired import (
    average_repeats,
    holm,
    mcnemar_p,
    newcombe_interval,
    paired_test,
    sign_flip_p,
)
from promptflow_lite.evals.stats.power import minimum_detectable_effect, rows_needed
from promptflow_lite.evals.stats.results import Agreement, Interval, PairedTest, Verdict
from promptflow_lite.evals.stats.sequential import ConfidenceSequence

__all__ = [
    "MIN_ROWS",
    "Agreement",
    "ConfidenceSequence",
    "Interval",
    "PairedTest",
    "Verdict",
    "average_repeats",
    "bootstrap_interval",
    "cluster_interval",
    "cohen_kappa",
    "holm",
    "krippendorff_alpha",
    "mcnemar_p",
    "mean_interval",
    "minimum_detectable_effect",
    "newcombe_interval",
    "paired_test",
    "prediction_powered_interval",
    "rows_needed",
    "sign_flip_p",
    "wilson_interval",
]
