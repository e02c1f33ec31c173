"""The simulated search engine for experiments: frozen, and as realistic as it says."""

import re
from hashlib import sha256

import numpy as np
import pytest
from conftest import ROOT

from germane.metrics import Lists, measure
from germane.simulate.difficulty import between
from germane.simulate.experiments import FROZEN, Experiments, experiments
from germane.stats.power import relative_mde
from germane.types import InputError


@pytest.fixture(scope="module")
def world() -> Experiments:
    return experiments(50_000, seed=11)


def mde_of_people(world: Experiments) -> float:
    spread = float(world.differences("people").std() / np.sqrt(world.constants.old))
    return relative_mde(spread, float(world.levels("people").mean()))


# --- what is frozen -------------------------------------------------------------------------------------------------


def test_the_constants_are_the_ones_that_were_frozen():
    """They were committed before any estimator was run on them. To change one is to make every published ladder void."""
    assert sha256(repr(FROZEN).encode()).hexdigest()[:16] == "27ed5a5fc30eb123"


def test_the_page_prints_the_frozen_constants():
    page = (ROOT / "docs" / "statistics" / "ladders.md").read_text(encoding="utf-8")
    written = {name: float(value) for name, value in re.findall(r"^\| `(\w+)` \| ([\d.,]+) \|", page, re.MULTILINE)}
    assert written == {n: v for n, v in FROZEN._asdict().items() if not isinstance(v, tuple)}
    for segment in FROZEN.segments:
        assert f"| {' | '.join(str(v) for v in segment)} |" in page
    for number, interest in enumerate(FROZEN.interests, 1):
        assert f"| {number} | {' | '.join(str(v) for v in interest)} |" in page


def test_the_human_regime_sees_effects_of_1_3_to_1_5_per_cent(world):
    assert 0.013 <= mde_of_people(world) <= 0.015


def test_other_seeds_make_a_world_of_the_same_difficulty():
    assert [mde_of_people(experiments(30_000, seed=seed)) for seed in (1, 2)] == pytest.approx([0.0137] * 2, abs=0.0007)


# --- how realistic it is --------------------------------------------------------------------------------------------


def test_half_of_what_is_shown_moves(world):
    share = world.moved().sum() / world.shown().sum()
    assert 0.40 <= share <= 0.50
    assert not (world.moved() & ~world.shown()).any()


def test_the_judge_is_as_good_as_published_ones(world):
    """Exact 0.737 and within one 0.917 in arXiv 2509.03764: ours errs as often, but seldom by two."""
    truth, judge = (world.gains[who][world.control > 0] * 4 for who in ("truth", "judge"))
    assert np.mean(truth == judge) == pytest.approx(0.73, abs=0.02)
    assert 0.6 <= np.corrcoef(world.differences("people"), world.differences("judge"))[0, 1] <= 0.8


def test_the_judge_errs_differently_by_segment(world):
    error = world.differences("judge") - world.differences("truth")
    segment = world.stratum % len(FROZEN.segments)
    mean = np.bincount(segment, error) / np.bincount(segment)
    assert mean[3] > 0.004 > 0.001 > abs(mean[0])


def test_the_treatment_helps_some_segments_and_hurts_others(world):
    segment = world.stratum % len(FROZEN.segments)
    head, *_, single = np.bincount(segment, world.differences("truth")) / np.bincount(segment)
    assert head < -0.005
    assert single > 0.01
    assert between(world.differences("truth"), world.stratum) < between(world.levels("truth"), world.stratum) < 0.2


def test_people_agree_with_the_truth_nine_times_in_ten(world):
    assert np.mean(world.gains["people"] == world.gains["truth"]) == pytest.approx(0.9, abs=0.01)


def test_the_student_knows_less_than_the_judge_it_learned_from(world):
    truth, judge, student = (world.differences(who) for who in ("truth", "judge", "student"))
    assert np.corrcoef(truth, student)[0, 1] < np.corrcoef(truth, judge)[0, 1]
    assert 0.5 < np.corrcoef(judge, student)[0, 1] < 0.75


# --- what must hold exactly -----------------------------------------------------------------------------------------


def test_levels_are_the_metric_s_own_sdcg(world):
    for arm in ("control", "treatment"):
        shares, gains = getattr(world, arm)[:50], world.gains["people"][:50]
        order = np.argsort(-shares, axis=1)[:, :25]
        ranked = Lists.of(np.rint(np.take_along_axis(gains, order, axis=1) * 4).astype(int).tolist())
        expected = measure("sDCG@25", ranked, gains=[0, 0.25, 0.5, 0.75, 1])["sDCG@25"]
        assert world.levels("people", arm)[:50] == pytest.approx(expected, abs=1e-6)


def test_a_difference_is_the_difference_of_levels(world):
    for who in ("people", "judge"):
        assert world.differences(who) == pytest.approx(world.levels(who, "treatment") - world.levels(who), abs=1e-6)


def test_both_arms_show_25_and_an_untouched_query_does_not_differ(world):
    assert (world.control > 0).sum(axis=1).tolist() == [25] * len(world)
    assert (world.treatment > 0).sum(axis=1).tolist() == [25] * len(world)
    still = ~world.moved().any(axis=1)
    assert 0.4 < still.mean() < 0.7
    assert not world.differences("people")[still].any()


def test_documents_that_did_not_move_need_no_label(world):
    """So labels of the moved ones alone give the same differences, and the same interval."""
    unlabelled = np.where(world.moved(), world.gains["people"], 0.0)
    assert np.array_equal((world.weight * unlabelled).sum(axis=1), (world.weight * world.gains["people"]).sum(axis=1))


def test_strata_have_their_shares(world):
    assert sum(world.populations.values()) == len(world)
    assert world.populations["interest 01 / single"] == pytest.approx(0.16 * 0.52 * len(world), abs=1)
    assert np.bincount(world.stratum, minlength=48).tolist() == list(world.populations.values())


def test_the_same_seed_makes_the_same_world_and_another_another():
    one, same, other = (experiments(500, seed=seed) for seed in (1, 1, 2))
    assert np.array_equal(one.gains["judge"], same.gains["judge"])
    assert not np.array_equal(one.gains["judge"], other.gains["judge"])


def test_constants_are_used():
    calm = experiments(500, seed=1, constants=FROZEN._replace(boost=0.0))
    assert not calm.moved().any()


def test_too_few_queries_for_the_strata_are_refused():
    with pytest.raises(InputError, match="give at least 96"):
        experiments(50, seed=1)
