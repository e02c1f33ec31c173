import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import false_discovery_control
from statsmodels.stats.multitest import multipletests

from germane.stats.multiple import adjusted_p, fcr_level, gated_p

p_values = st.lists(st.floats(0, 1), min_size=1, max_size=60)


@given(p_values, st.sampled_from(["bh", "by"]))
def test_adjusted_p_values_are_those_of_scipy_and_statsmodels(p, method):
    ours = adjusted_p(p, method=method)
    assert ours == pytest.approx(false_discovery_control(p, method=method))
    assert ours == pytest.approx(multipletests(p, method=f"fdr_{method}")[1])


def test_four_p_values_by_hand():
    """0.005 x 4/1, 0.011 x 4/2, 0.02 x 4/3 and 0.04 x 4/4; BY multiplies by 1 + 1/2 + 1/3 + 1/4 = 25/12."""
    p = [0.04, 0.005, 0.011, 0.02]
    by_hand = np.array([0.04, 0.02, 0.022, 0.08 / 3])
    assert adjusted_p(p) == pytest.approx(by_hand)
    assert adjusted_p(p, method="by") == pytest.approx(by_hand * 25 / 12)


@given(p_values, st.randoms())
def test_the_order_of_segments_does_not_matter(p, random):
    order = random.sample(range(len(p)), len(p))
    assert adjusted_p(np.array(p)[order]) == pytest.approx(adjusted_p(p)[order])


@given(p_values)
def test_adjusting_never_makes_a_segment_look_better(p):
    assert (adjusted_p(p) >= np.array(p) - 1e-15).all()


def test_no_segments_are_no_discoveries():
    assert adjusted_p([]).size == 0


@pytest.mark.parametrize("p", [[0.1, np.nan], [-0.1], [1.1]])
def test_what_is_no_p_value_is_refused(p):
    with pytest.raises(ValueError, match="is no p-value"):
        adjusted_p(p)


def test_an_unknown_method_is_refused():
    with pytest.raises(ValueError, match="bh or by"):
        adjusted_p([0.1], method="bonferroni")
    with pytest.raises(ValueError, match="bh or by"):
        fcr_level(1, 2, method="bonferroni")


# --- intervals of what was found ------------------------------------------------------------------------------------


def test_intervals_of_found_segments_are_wider_the_fewer_were_found_of_the_more():
    """Benjamini and Yekutieli (2005), their example of 4 of 1,000 parameters at q = 0.05: 1 - 4 x 0.05 / 1000."""
    assert fcr_level(4, 1000) == pytest.approx(0.9998)
    assert fcr_level(4, 1000, level=0.9) == pytest.approx(0.9996)
    assert fcr_level(1000, 1000) == pytest.approx(0.95)
    assert fcr_level(2, 2, method="by") == pytest.approx(1 - 0.05 / 1.5)


@given(p_values, st.sampled_from(["bh", "by"]))
def test_a_segment_is_found_exactly_where_its_p_is_within_its_own_interval_s_level(p, method):
    found = adjusted_p(p, method=method) <= 0.05
    if found.any():
        bar = 1 - fcr_level(int(found.sum()), len(p), method=method)
        assert (np.array(p)[found] <= bar + 1e-12).all()
        assert (np.array(p)[~found] > bar).all()


@pytest.mark.parametrize(("found", "tested"), [(0, 3), (4, 3)])
def test_no_interval_is_adjusted_for_what_was_not_found(found, tested):
    with pytest.raises(ValueError, match="of 3 tested"):
        fcr_level(found, tested)


def test_a_level_that_is_none_is_refused():
    with pytest.raises(ValueError, match="level is 95"):
        fcr_level(1, 2, level=95)


# --- gates ----------------------------------------------------------------------------------------------------------


def test_a_dimension_whose_segments_do_not_differ_is_not_read():
    q, read = gated_p([0.001, 0.3, 0.0001, 0.4], [0, 0, 1, 1], [0.01, 0.06])
    assert read.tolist() == [True, True, False, False]
    assert q == pytest.approx([0.004, 0.6, 1, 1])  # 0.001 x 2 in its family, x 2 families for 1 that is open
    assert gated_p([0.001], [0], [0.06], level=0.9)[1].all()


def test_where_every_gate_opens_each_family_is_adjusted_alone():
    p = np.array([0.001, 0.3, 0.0001, 0.4, 0.02])
    q, read = gated_p(p, [0, 0, 1, 1, 1], [0.01, 0.02], method="by")
    assert read.all()
    assert q == pytest.approx(np.concatenate([adjusted_p(p[:2], method="by"), adjusted_p(p[2:], method="by")]))
