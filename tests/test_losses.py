import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the losses need torch: pip install 'germane[train]'")

from germane.training import losses  # noqa: E402


def tensor(values):
    return torch.tensor(np.asarray(values), dtype=torch.float64)


def hot(grades, size=4):
    return torch.eye(size, dtype=torch.float64)[torch.tensor(grades)]


def logits_of(probs):
    return tensor(probs).log()


def test_cross_entropy_is_the_mean_surprise():
    found = losses.cross_entropy(logits_of([[0.5, 0.25, 0.25], [0.1, 0.1, 0.8]]), hot([0, 2], 3))
    assert found.item() == pytest.approx((np.log(2) - np.log(0.8)) / 2)


def test_cross_entropy_is_the_one_of_torch_with_weights_and_smoothing():
    torch.manual_seed(0)
    logits, grade = torch.randn(20, 4), torch.randint(4, (20,))
    weights = torch.tensor([1.0, 3.0, 0.5, 2.0])
    ours = losses.cross_entropy(logits, hot(grade.tolist()).float(), weights=weights)
    theirs = torch.nn.functional.cross_entropy(logits, grade, weight=weights, reduction="sum") / len(grade)
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-6)
    ours = losses.cross_entropy(logits, hot(grade.tolist()).float(), smoothing=0.2)
    assert ours.item() == pytest.approx(torch.nn.functional.cross_entropy(logits, grade, label_smoothing=0.2).item(), rel=1e-6)


def test_how_rows_fall_into_batches_does_not_change_what_class_weights_do():
    torch.manual_seed(0)
    logits, grade, weights = torch.randn(8, 4), torch.randint(4, (8,)), torch.tensor([1.0, 3.0, 0.5, 2.0])
    whole = losses.cross_entropy(logits, hot(grade.tolist()).float(), weights=weights)
    one_by_one = [losses.cross_entropy(logits[[i]], hot([int(grade[i])]).float(), weights=weights) for i in range(8)]
    assert torch.stack(one_by_one).mean().item() == pytest.approx(whole.item(), rel=1e-6)


def test_cross_entropy_with_soft_targets_is_least_at_the_targets():
    target = tensor([[0.7, 0.2, 0.1]])
    least = losses.cross_entropy(target.log(), target)
    assert least.item() == pytest.approx(-(0.7 * np.log(0.7) + 0.2 * np.log(0.2) + 0.1 * np.log(0.1)))
    assert losses.cross_entropy(logits_of([[0.6, 0.3, 0.1]]), target) > least


def test_the_ranked_probability_score_by_hand():
    """Cumulative 0.2, 0.5, 0.9 against 0, 0, 1: (0.04 + 0.25 + 0.01) / 3."""
    found = losses.ranked_probability(logits_of([[0.2, 0.3, 0.4, 0.1]]), hot([2]))
    assert found.item() == pytest.approx(0.1)


def test_the_ranked_probability_score_is_1_at_the_far_end_and_0_when_right():
    sure = tensor([[0.0, 0.0, 0.0, 60.0]])
    assert losses.ranked_probability(sure, hot([0])).item() == pytest.approx(1)
    assert losses.ranked_probability(sure, hot([3])).item() == pytest.approx(0, abs=1e-20)


def test_a_near_miss_costs_less_than_a_far_one_in_the_ordinal_loss_alone():
    near, far = logits_of([[0.1, 0.1, 0.7, 0.1]]), logits_of([[0.7, 0.1, 0.1, 0.1]])
    target = hot([3])
    assert losses.cross_entropy(near, target).item() == pytest.approx(losses.cross_entropy(far, target).item())
    assert losses.ordinal(near, target) < losses.ordinal(far, target)


def test_the_ordinal_loss_is_proper():
    """Of 200 random answers none is better than the true probabilities."""
    rng = np.random.default_rng(0)
    true = rng.dirichlet(np.ones(4))
    each = [(p, hot([k])) for k, p in enumerate(true)]

    def expected(probs):
        return sum(p * losses.ordinal(logits_of([probs]), target).item() for p, target in each)

    best = expected(true)
    assert all(expected(rng.dirichlet(np.ones(4))) > best for _ in range(200))


def test_the_order_of_gains_by_hand():
    """Expected gains 0.5 and 0.25, true gains 1 and 0: softplus(-4 x 0.25)."""
    gains = tensor([0.0, 1.0])
    found = losses.order_of_gains(logits_of([[0.5, 0.5], [0.75, 0.25]]), hot([1, 0], 2), torch.tensor([7, 7]), gains)
    assert found.item() == pytest.approx(np.log1p(np.exp(-1.0)))


def test_the_order_of_gains_looks_within_a_query_only():
    gains, logits = tensor([0.0, 1.0]), logits_of([[0.5, 0.5], [0.75, 0.25]]).requires_grad_()
    found = losses.order_of_gains(logits, hot([1, 0], 2), torch.tensor([1, 2]), gains)
    assert found.item() == 0
    found.backward()  # a batch without a pair still has a gradient, of zeros
    assert not logits.grad.any()


def test_pairs_count_by_the_gap_of_their_gains():
    """E over C weighs 0.99, E over S 0.9 and S over C 0.09: the mean of their losses by these weights."""
    gains = tensor([0.0, 0.01, 0.1, 1.0])
    probs = tensor([[0.1, 0.2, 0.3, 0.4], [0.4, 0.3, 0.2, 0.1], [0.25, 0.25, 0.25, 0.25]])
    grades = [3, 1, 2]
    expected = (probs @ gains).numpy()
    pairs = [(0, 1, 0.99), (0, 2, 0.9), (2, 1, 0.09)]
    wanted = sum(w * np.log1p(np.exp(-4 * (expected[i] - expected[j]))) for i, j, w in pairs) / 1.98
    found = losses.order_of_gains(probs.log(), hot(grades), torch.zeros(3, dtype=torch.long), gains)
    assert found.item() == pytest.approx(wanted)


def test_the_unit_of_gains_does_not_matter():
    torch.manual_seed(1)
    logits, target, query = torch.randn(8, 4).double(), hot([0, 1, 2, 3] * 2), torch.tensor([0] * 4 + [1] * 4)
    one, ten = (losses.order_of_gains(logits, target, query, tensor([0, 0.1, 0.5, 1.0]) * unit) for unit in (1, 10))
    assert one.item() == pytest.approx(ten.item())


@pytest.mark.parametrize(
    "loss",
    [
        lambda x: losses.cross_entropy(x, hot([0, 3, 1]), weights=tensor([1.0, 2.0, 1.0, 0.5]), smoothing=0.1),
        lambda x: losses.ranked_probability(x, hot([0, 3, 1])),
        lambda x: losses.ordinal(x, hot([0, 3, 1])),
        lambda x: losses.order_of_gains(x, hot([0, 3, 1]), torch.tensor([0, 0, 0]), tensor([0.0, 0.01, 0.1, 1.0])),
    ],
    ids=["cross-entropy", "ranked probability", "ordinal", "order of gains"],
)
def test_gradients_are_those_of_small_steps(loss):
    torch.manual_seed(2)
    assert torch.autograd.gradcheck(loss, (torch.randn(3, 4, dtype=torch.float64, requires_grad=True),))
