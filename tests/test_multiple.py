import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import false_discovery_control

from germane.stats.multiple import adjusted_p

p_values = st.lists(st.floats(0, 1), min_size=1, max_size=60)


@given(p_values, st.sampled_from(["BH", "BY"]))
def test_adjusted_p_values_are_those_of_scipy(p, method):
    assert adjusted_p(p, method=method) == pytest.approx(false_discovery_control(p, method=method.lower()))


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
    with pytest.raises(ValueError, match="BH or BY"):
        adjusted_p([0.1], method="bonferroni")
