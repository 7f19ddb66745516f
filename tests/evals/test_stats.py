"""Statistics against scipy, statsmodels and published worked examples; error rates and coverage by simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats
import statsmodels.api as sm
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.inter_rater import cohens_kappa
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import NormalIndPower
from statsmodels.stats.proportion import proportion_confint

from promptflow_lite.errors import DataError
from promptflow_lite.evals.stats import (
    ConfidenceSequence,
    average_repeats,
    bootstrap_interval,
    cluster_interval,
    cohen_kappa,
    holm,
    krippendorff_alpha,
    mcnemar_p,
    mean_interval,
    minimum_detectable_effect,
    newcombe_interval,
    paired_test,
    prediction_powered_interval,
    rows_needed,
    sign_flip_p,
    wilson_interval,
)

N_SEEDS = 2000


def at_most_nominal(rejections: int, n: int, alpha: float = 0.05) -> bool:
    """At most the nominal rate within the simulation's own error (three standard errors)."""
    return rejections / n <= alpha + 3 * math.sqrt(alpha * (1 - alpha) / n)


class TestIntervals:
    @pytest.mark.parametrize(("successes", "n"), [(0, 10), (10, 10), (17, 20), (1, 3), (437, 872)])
    @pytest.mark.parametrize("level", [0.9, 0.95, 0.99])
    def test_wilson_agrees_with_statsmodels_and_scipy(self, successes: int, n: int, level: float) -> None:
        interval = wilson_interval(successes, n, level=level)

        expected = proportion_confint(successes, n, alpha=1 - level, method="wilson")
        other = scipy.stats.binomtest(successes, n).proportion_ci(level, method="wilson")
        assert (interval.low, interval.high) == pytest.approx(expected, abs=1e-12)
        assert (interval.low, interval.high) == pytest.approx((other.low, other.high), abs=1e-12)

    def test_17_of_20_is_64_to_95_percent(self) -> None:
        interval = wilson_interval(17, 20)

        assert (round(interval.low, 3), round(interval.high, 3)) == (0.640, 0.948)

    @given(n=st.integers(1, 500), share=st.floats(0, 1))
    def test_wilson_contains_the_estimate_and_stays_in_range(self, n: int, share: float) -> None:
        successes = round(share * n)
        interval = wilson_interval(successes, n)

        assert 0 <= interval.low <= successes / n <= interval.high <= 1

    def test_bca_agrees_with_scipy_on_skewed_scores(self) -> None:
        scores = np.random.default_rng(1).exponential(size=60)

        interval = bootstrap_interval(list(scores), seed=3)

        expected = scipy.stats.bootstrap((scores,), np.mean, n_resamples=20_000, rng=np.random.default_rng(9))
        assert interval.method.startswith("bootstrap BCa")
        assert interval.low == pytest.approx(expected.confidence_interval.low, abs=0.02)
        assert interval.high == pytest.approx(expected.confidence_interval.high, abs=0.02)

    def test_bootstrap_repeats_with_its_seed(self) -> None:
        scores = list(np.random.default_rng(1).random(40))

        assert bootstrap_interval(scores, seed=7) == bootstrap_interval(scores, seed=7)
        assert bootstrap_interval(scores, seed=7) != bootstrap_interval(scores, seed=8)

    def test_a_bootstrap_of_fourteen_rows_is_refused(self) -> None:
        with pytest.raises(DataError, match="at least 15 rows"):
            bootstrap_interval([0.1 * i for i in range(14)])

        assert mean_interval([0.1 * i for i in range(14)]) is None

    def test_equal_rows_are_said_to_be_equal(self) -> None:
        assert "all rows equal" in bootstrap_interval([0.5] * 20).method

    def test_cluster_interval_agrees_with_a_cluster_robust_regression(self) -> None:
        rng = np.random.default_rng(5)
        clusters = np.repeat(np.arange(12), rng.integers(2, 9, size=12))
        scores = rng.normal(size=len(clusters)) + rng.normal(size=12)[clusters]

        interval = cluster_interval(list(scores), list(clusters))

        fit = sm.OLS(scores, np.ones(len(scores))).fit(
            cov_type="cluster", cov_kwds={"groups": clusters, "use_correction": True}, use_t=True
        )
        assert interval is not None
        assert (interval.low, interval.high) == pytest.approx(tuple(fit.conf_int()[0]))

    def test_prediction_powered_interval_follows_its_formula(self) -> None:
        rng = np.random.default_rng(2)
        truth = rng.random(400)
        judge = truth + 0.3 + rng.normal(scale=0.05, size=400)

        mean, interval = prediction_powered_interval(list(judge[100:]), list(judge[:100]), list(truth[:100]))

        weight = np.cov(judge[:100], truth[:100])[0, 1] / ((1 + 100 / 300) * judge.var(ddof=1))
        residual = truth[:100] - weight * judge[:100]
        by_hand = weight * judge[100:].mean() + residual.mean()
        error = math.sqrt(weight**2 * judge[100:].var(ddof=1) / 300 + residual.var(ddof=1) / 100)
        assert mean == pytest.approx(by_hand)
        assert interval.width == pytest.approx(2 * 1.959964 * error, rel=1e-5)
        labels_only = 2 * 1.959964 * truth[:100].std(ddof=1) / 10
        assert interval.width < 0.8 * labels_only

    def test_a_useless_judge_gets_no_weight(self) -> None:
        rng = np.random.default_rng(3)
        labels = rng.random(200)

        mean, interval = prediction_powered_interval([0.5] * 50, [0.5] * 200, list(labels))

        assert mean == pytest.approx(labels.mean())
        assert "weight 0.00" in interval.method


class TestPaired:
    @pytest.mark.parametrize(("only_a", "only_b"), [(0, 0), (0, 5), (10, 3), (7, 7), (40, 61)])
    def test_mcnemar_agrees_with_statsmodels(self, only_a: int, only_b: int) -> None:
        expected = mcnemar([[3, only_a], [only_b, 9]], exact=True).pvalue if only_a + only_b else 1.0

        assert mcnemar_p(only_a, only_b) == pytest.approx(expected)

    def test_mid_p_of_a_published_table(self) -> None:
        """Fagerland, Lydersen & Laake 2013, table 1 (airway hyper-responsiveness): exact 0.0703, mid-p 0.0391."""
        assert mcnemar_p(7, 1) == pytest.approx(0.0703, abs=5e-5)
        assert mcnemar_p(7, 1, is_mid_p=True) == pytest.approx(0.0391, abs=5e-5)

    def test_newcombe_interval_of_a_published_table(self) -> None:
        """Altman, Machin, Bryant & Gardner 2000, table 6.2: 14, 5, 0, 22 give 0.122, 0.011 to 0.226."""
        interval = newcombe_interval(14, 0, 5, 22)

        assert (round(interval.low, 3), round(interval.high, 3)) == (0.011, 0.226)

    def test_newcombe_interval_turns_round_with_the_variants(self) -> None:
        forward, backward = newcombe_interval(30, 4, 11, 15), newcombe_interval(30, 11, 4, 15)

        assert (forward.low, forward.high) == pytest.approx((-backward.high, -backward.low))

    def test_all_sign_patterns_agree_with_scipy(self) -> None:
        differences = np.array([0.3, -0.1, 0.4, 0.25, -0.05, 0.6, 0.12, 0.01])

        expected = scipy.stats.permutation_test(
            (differences, np.zeros(8)),
            lambda a, b, axis: np.mean(a - b, axis=axis),
            permutation_type="samples",
            vectorized=True,
        ).pvalue
        assert sign_flip_p(list(differences)) == pytest.approx(expected)

    def test_sampled_sign_flips_approach_the_t_test_on_normal_differences(self) -> None:
        differences = np.random.default_rng(4).normal(0.2, 1, size=200)

        expected = scipy.stats.ttest_1samp(differences, 0).pvalue
        assert sign_flip_p(list(differences), n_permutations=50_000) == pytest.approx(expected, abs=0.003)

    def test_pairing_finds_what_two_separate_intervals_hide(self) -> None:
        a = [1] * 150 + [0] * 20 + [1] * 4 + [0] * 46
        b = [1] * 150 + [1] * 20 + [0] * 4 + [0] * 46

        result = paired_test(a, b)

        separate = scipy.stats.fisher_exact([[sum(a), 220 - sum(a)], [sum(b), 220 - sum(b)]]).pvalue
        assert result.p_value < 0.01 < separate
        assert (result.wins, result.losses, result.ties, result.method) == (20, 4, 196, "McNemar exact")

    def test_clusters_are_the_independent_units(self) -> None:
        rng = np.random.default_rng(6)
        per_document = rng.normal(0.1, 0.3, size=15)
        clusters = np.repeat(np.arange(15), 20)
        b = per_document[clusters] + rng.normal(scale=0.02, size=300)

        naive = paired_test([0.0] * 300, list(b))
        clustered = paired_test([0.0] * 300, list(b), clusters=list(clusters))

        assert clustered.n == 15
        assert clustered.interval is not None
        assert naive.interval is not None
        assert clustered.interval.width > 3 * naive.interval.width
        assert clustered.p_value > naive.p_value

    def test_two_clusters_that_agree_prove_nothing(self) -> None:
        result = paired_test([0.0] * 40, [1.0] * 40, clusters=[0] * 20 + [1] * 20)

        assert result.p_value == 0.5

    def test_copied_repeats_gain_no_significance(self) -> None:
        rng = np.random.default_rng(8)
        a, b = rng.random(40), rng.random(40) + 0.08
        once = paired_test(list(a), list(b))

        copied_a = average_repeats((row, score) for row, score in enumerate(a) for _ in range(3))
        copied_b = average_repeats((row, score) for row, score in enumerate(b) for _ in range(3))
        repeated = paired_test(list(copied_a.values()), list(copied_b.values()))

        assert repeated.p_value == pytest.approx(once.p_value)
        assert repeated.n == once.n == 40

    def test_holm_agrees_with_statsmodels(self) -> None:
        p_values = {"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.005, "e": 0.9}

        expected = multipletests(list(p_values.values()), method="holm")[1]
        assert list(holm(p_values).values()) == pytest.approx(list(expected))

    @pytest.mark.parametrize(("a", "b"), [([], []), ([1], [1, 0])])
    def test_different_rows_are_refused(self, a: list[int], b: list[int]) -> None:
        with pytest.raises(DataError):
            paired_test(a, b)


class TestAgreement:
    TABLE = np.array([[22, 5, 1], [4, 18, 6], [0, 3, 11]])

    def raters(self) -> tuple[list[int], list[int]]:
        cells = [(i, j) for i in range(3) for j in range(3) for _ in range(self.TABLE[i, j])]
        return [i for i, _ in cells], [j for _, j in cells]

    @pytest.mark.parametrize(("weights", "name"), [(None, None), ("linear", "linear"), ("quadratic", "quadratic")])
    def test_kappa_agrees_with_statsmodels(self, weights: str | None, name: str | None) -> None:
        result = cohen_kappa(*self.raters(), weights=weights)  # type: ignore[arg-type]

        expected = cohens_kappa(self.TABLE, wt=name, return_results=True)
        assert result.value == pytest.approx(expected.kappa)
        assert result.interval is not None
        assert (result.interval.low, result.interval.high) == pytest.approx((expected.kappa_low, expected.kappa_upp))

    @pytest.mark.parametrize(("scale", "alpha"), [("nominal", 0.743), ("ordinal", 0.815), ("interval", 0.849)])
    def test_alpha_of_the_published_example(self, scale: str, alpha: float) -> None:
        """Krippendorff 2011, Computing Krippendorff's Alpha-Reliability, four observers with missing data."""
        rows = ["12332141 2...", "12332241 25.3", ".3332342 251.", "12332441 251."]
        ratings = [[None if cell == "." else int(cell) for cell in row.replace(" ", "")] for row in rows]

        assert krippendorff_alpha(ratings, scale=scale).value == pytest.approx(alpha, abs=5e-4)  # type: ignore[arg-type]

    def test_raters_who_never_differ_agree_fully(self) -> None:
        assert cohen_kappa(["a", "b", "a"], ["a", "b", "a"]).value == 1.0
        assert krippendorff_alpha([["a", "a"], ["a", "a"]]).value == 1.0

    def test_no_common_items_is_an_error(self) -> None:
        with pytest.raises(DataError):
            krippendorff_alpha([[1, None], [None, 2]])


class TestPower:
    def test_rows_needed_agree_with_statsmodels(self) -> None:
        rows = rows_needed(0.5, 0.05)

        expected = NormalIndPower().solve_power(effect_size=0.1, alpha=0.05, power=0.8, ratio=0)
        assert rows == math.ceil(expected)

    def test_effect_and_rows_invert_each_other(self) -> None:
        rows = rows_needed(0.4, 0.02)

        assert minimum_detectable_effect(0.4, rows) <= 0.02 < minimum_detectable_effect(0.4, rows - 1)

    def test_an_effect_of_zero_is_refused(self) -> None:
        with pytest.raises(DataError):
            rows_needed(0.4, 0)


class TestSequential:
    def test_interval_narrows_around_the_mean(self) -> None:
        sequence = ConfidenceSequence()
        sequence.extend(np.random.default_rng(0).choice([-1, 0, 1], p=[0.05, 0.7, 0.25], size=3000))

        assert sequence.interval.low > 0
        assert sequence.interval.low <= 0.2 <= sequence.interval.high

    def test_values_outside_the_bounds_are_refused(self) -> None:
        with pytest.raises(DataError):
            ConfidenceSequence(low=0, high=1).add(1.5)


@pytest.mark.slow
class TestErrorRates:
    """A/A experiments: both variants are the same, so a significant difference is an error."""

    def test_mcnemar_rejects_at_most_at_the_nominal_rate(self) -> None:
        rng = np.random.default_rng(0)
        discordant = rng.binomial(200, 0.2, size=N_SEEDS)
        only_a = rng.binomial(discordant, 0.5)

        rejected = sum(mcnemar_p(int(a), int(d - a)) < 0.05 for a, d in zip(only_a, discordant, strict=True))

        assert at_most_nominal(rejected, N_SEEDS)

    def test_sign_flips_reject_at_most_at_the_nominal_rate(self) -> None:
        rng = np.random.default_rng(1)
        base = rng.exponential(size=(N_SEEDS, 60))
        differences = rng.exponential(size=(N_SEEDS, 60)) - base

        rejected = sum(sign_flip_p(row, seed=i, n_permutations=999) < 0.05 for i, row in enumerate(differences))

        assert at_most_nominal(rejected, N_SEEDS)

    def test_cluster_test_rejects_about_at_the_nominal_rate_where_the_naive_one_fails(self) -> None:
        rng = np.random.default_rng(2)
        clusters = np.repeat(np.arange(30), 8)
        shared = rng.normal(size=(500, 30))[:, clusters]
        differences = shared + rng.normal(size=(500, 240))
        zeros = [0.0] * 240

        robust = sum(paired_test(zeros, list(row), clusters=list(clusters)).p_value < 0.05 for row in differences)
        naive = sum(scipy.stats.ttest_1samp(row, 0).pvalue < 0.05 for row in differences)

        assert at_most_nominal(robust, 500)
        assert naive / 500 > 0.25

    def test_looking_after_every_row_stays_below_the_nominal_rate(self) -> None:
        rng = np.random.default_rng(3)
        wrong = 0
        for _ in range(500):
            sequence = ConfidenceSequence()
            sequence.extend(rng.choice([-1, 0, 1], p=[0.15, 0.7, 0.15], size=400))
            wrong += sequence.interval.excludes(0)

        assert at_most_nominal(wrong, 500)

    @pytest.mark.parametrize(("share", "n"), [(0.5, 30), (0.9, 40), (0.78, 872)])
    def test_wilson_covers_about_95_percent(self, share: float, n: int) -> None:
        draws = np.random.default_rng(4).binomial(n, share, size=N_SEEDS)

        covered = sum(not wilson_interval(int(k), n).excludes(share) for k in draws) / N_SEEDS

        assert 0.93 <= covered <= 0.98

    def test_bootstrap_covers_at_least_91_percent_of_skewed_means(self) -> None:
        rng = np.random.default_rng(5)
        samples = rng.exponential(size=(400, 50))

        covered = sum(
            not bootstrap_interval(list(row), seed=i, n_resamples=999).excludes(1.0) for i, row in enumerate(samples)
        )

        assert covered / 400 >= 0.91

    def test_newcombe_covers_about_95_percent(self) -> None:
        tables = np.random.default_rng(6).multinomial(120, [0.55, 0.15, 0.1, 0.2], size=N_SEEDS)

        covered = sum(not newcombe_interval(*map(int, table)).excludes(-0.05) for table in tables) / N_SEEDS

        assert 0.93 <= covered <= 0.975

    def test_prediction_powered_interval_covers_about_95_percent(self) -> None:
        rng = np.random.default_rng(7)
        covered = 0
        for _ in range(N_SEEDS):
            truth = rng.binomial(1, 0.7, size=400).astype(float)
            judge = 0.3 + 0.5 * truth + rng.normal(scale=0.1, size=400)
            _, interval = prediction_powered_interval(judge[80:], judge[:80], truth[:80])
            covered += not interval.excludes(0.7)

        assert 0.93 <= covered / N_SEEDS <= 0.97
