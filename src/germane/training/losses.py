"""Losses of grades: logits (rows, grades) and what should have been said, to one number that can be minimised."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def cross_entropy(logits: Tensor, target: Tensor, *, weights: Tensor | None = None, smoothing: float = 0.0) -> Tensor:
    """The mean surprise, in nats, at grades that occur with the probabilities `target` (rows, grades).

    weights: of each grade, (grades,), 1 on average over all rows: a row counts by the mean weight of its target. The sum is
    divided by the rows and not by their weights, so that it does not matter how rows fall into batches.
    smoothing: this share of each target is spread evenly over the grades.
    """
    from torch.nn.functional import log_softmax

    smooth = target * (1 - smoothing) + smoothing / logits.shape[1]
    surprise = -(smooth * log_softmax(_precise(logits), dim=1)).sum(dim=1)
    if weights is None:
        return surprise.mean()
    return (surprise * (target * weights).sum(dim=1)).mean()


def ranked_probability(logits: Tensor, target: Tensor) -> Tensor:
    """The mean ranked probability score, 0 to 1: squared gaps of cumulative probabilities, so near is better than far.

    A proper score: the true probabilities minimise it, unlike the softened targets of many ordinal losses.
    Source: Epstein (1969); as a loss, the squared earth mover's distance of Hou, Yu and Samaras (2016), eq. 2, divided by
    the number of grades minus 1.
    """
    from torch.nn.functional import softmax

    gap = (softmax(_precise(logits), dim=1) - target).cumsum(dim=1)[:, :-1]
    return (gap**2).mean(dim=1).mean()


def ordinal(logits: Tensor, target: Tensor, *, weights: Tensor | None = None, smoothing: float = 0.0) -> Tensor:
    """Cross-entropy plus the ranked probability score: both proper, the second knows the order of the grades."""
    return cross_entropy(logits, target, weights=weights, smoothing=smoothing) + ranked_probability(logits, target)


def order_of_gains(logits: Tensor, target: Tensor, query: Tensor, gains: Tensor, *, sharpness: float = 4.0) -> Tensor:
    """How wrongly rows of one query stand to each other: RankNet's loss of their expected gains, 0 where there is no such pair.

    query: (rows,) number of the query. gains: (grades,) of the scale. A pair of rows counts by the gap of its true gains,
    since that is what it costs in sDCG to have it the wrong way round. Expected gains lie within 0 and the largest gain;
    `sharpness` is how steep the loss is over that range.
    Source: Burges et al. (2005), eq. 3, with sigma = sharpness / largest gain; the weights are ours.
    """
    from torch.nn.functional import softmax, softplus

    expected, true = softmax(_precise(logits), dim=1) @ gains, target @ gains
    gap = (true[:, None] - true[None, :]).clamp(min=0) * (query[:, None] == query[None, :])
    if not gap.any():
        return _precise(logits).sum() * 0
    ahead = (expected[:, None] - expected[None, :]) * (sharpness / gains.max())
    return (softplus(-ahead) * gap).sum() / gap.sum()


def _precise(logits: Tensor) -> Tensor:
    """Logits in 32 bits at least: 16 hold too few digits for a sum of surprises."""
    return logits if logits.dtype.itemsize >= 4 else logits.float()
