"""How much two tasks change each other's result: Shapley values, interactions, FCP-Net's interaction loss.

Source: Liu et al., FCP-Net, IEEE TMI 2022, section III.F, Eq. (10)-(13), (16) and (17); interaction as in
Zhang et al., Interpreting and Boosting Dropout from a Game-Theoretic View, ICLR 2021, arXiv:2009.11729.

Where the 1/12 of Eq. (13) comes from. With the players c and s alone, Eq. (10)-(12) give
I = g({c,s}) - g({s}), without a factor, under the paper's conventions g({}) = g({c}) = 0. The paper instead
lets D range over M, "all the possible subsets of {c,s}", without {c,s}. The factor appears when the three
coalitions that remain, {}, {c} and {s}, are taken as the set H of Eq. (10), and each D as one element of it:
P(D | H) = (3 - 1)! 1! / (3 + 1)! = 1/12. The difference of Eq. (12) vanishes at {c} and {s} for every game,
so only D = {} is left: I = (g({c,s}) - g({s})) / 12. The paper's own computation, its appendix, is missing
from the text at hand. The loss does not depend on the reading, since Eq. (16) multiplies by 12 again.
"""

from collections.abc import Callable, Hashable, Iterator
from itertools import chain, combinations
from math import factorial
from typing import TypeVar

from torch import Tensor

from delineate.checks import InputError
from delineate.layers.precision import full_precision
from delineate.losses.common import prepare, probabilities

Player = TypeVar("Player", bound=Hashable)
Reward = TypeVar("Reward", float, Tensor)


def interaction_loss(joint: Tensor, mask: Tensor) -> Tensor:
    """Mean absolute difference between what both tasks predict together and segmentation alone.

    Needs no reference. The gradient reaches both maps: each is drawn to the other.

    Args:
        joint: (B, C, H, W) float logits of the interaction branch, g({c,s}) after the sigmoid (C = 1) or the
            softmax over channels.
        mask: (B, C, H, W) float logits of the segmentation, g({s}).

    Returns:
        Scalar in [0, 1], float32 (float64 for float64 logits): the mean over images, channels and pixels.
        One channel and its two-channel softmax form have the same loss.

    Raises:
        InputError: the shapes differ, or are not (B, C, H, W).

    Source:
        Liu et al., FCP-Net, Eq. (16) and (17).
    """
    with full_precision(mask.device):
        joint, mask = prepare(joint, mask, spatial=True)
        difference = probabilities(joint) - probabilities(mask)  # Eq. (16): f = 12 I(c,s)   (B, C, H, W)
        return difference.abs().mean()  # Eq. (17)


def shapley_weight(size: int, players: int) -> float:
    """Return the probability P(S | H) that S is the coalition present, of Eq. (10).

    Args:
        size: |S|, from 0 to `players`.
        players: |H|, the number of players S is drawn from.

    Returns:
        (|H| - |S|)! |S|! / (|H| + 1)!; over all subsets of H it sums to 1.

    Raises:
        InputError: `size` is not between 0 and `players`.
    """
    if not 0 <= size <= players:
        raise InputError(f"A coalition of {players} players has 0 to {players} members, got {size}.")
    return factorial(players - size) * factorial(size) / factorial(players + 1)


def shapley_value(
    game: Callable[[frozenset[Player]], Reward], players: frozenset[Player], player: Player
) -> Reward:
    """Return a player's fair share of a game's reward, Eq. (10).

    Args:
        game: g, the reward of a coalition; called for 2^n coalitions of n players.
        players: T.
        player: i, one of `players`.

    Returns:
        The mean gain by i joining, over the orders in which players can join; a number or a tensor, as of
        `game`.

    Raises:
        InputError: `player` is not one of `players`.
    """
    _require(players, player)
    others = players - {player}
    return _weighted_sum(others, lambda s: game(s | {player}) - game(s))  # Eq. (10)


def interaction(
    game: Callable[[frozenset[Player]], Reward], players: frozenset[Player], first: Player, second: Player
) -> Reward:
    """Return what two players gain by always acting as one, Eq. (11).

    Their share as one player S_ij, less the share of each while the other is absent.

    Args:
        game: g, the reward of a coalition.
        players: T.
        first: i, one of `players`.
        second: j, another one.

    Returns:
        Positive when they help, negative when they hinder each other; a number or a tensor, as `game`.

    Raises:
        InputError: `first` or `second` is not one of `players`, or they are the same.
    """
    _require(players, first, second)
    pair: frozenset[Player] = frozenset({first, second})
    # With S_ij as one player, the players are blocks of the original ones.
    blocks = frozenset({pair, *(frozenset({p}) for p in players - pair)})
    together = shapley_value(lambda chosen: game(frozenset().union(*chosen)), blocks, pair)
    alone = shapley_value(game, players - {second}, first) + shapley_value(game, players - {first}, second)
    return together - alone  # Eq. (11), first line


def interaction_difference(
    game: Callable[[frozenset[Player]], Reward], coalition: frozenset[Player], first: Player, second: Player
) -> Reward:
    """Return how the gain by `first` joining changes when `second` is there too, Eq. (12)."""
    both = game(coalition | {first, second})
    return both - game(coalition | {second}) - game(coalition | {first}) + game(coalition)  # Eq. (12)


def interaction_by_differences(
    game: Callable[[frozenset[Player]], Reward], players: frozenset[Player], first: Player, second: Player
) -> Reward:
    """Return the interaction as the weighted sum of Eq. (12): the second line of Eq. (11), the same number.

    Raises:
        InputError: `first` or `second` is not one of `players`, or they are the same.
    """
    _require(players, first, second)
    others = players - {first, second}
    return _weighted_sum(others, lambda s: interaction_difference(game, s, first, second))  # Eq. (11)


def task_interaction(game: Callable[[frozenset[Player]], Reward], first: Player, second: Player) -> Reward:
    """Return the interaction of two tasks as Eq. (13) sums it; see this module's docstring for the reading.

    Args:
        game: reward of {}, {first}, {second} and {first, second}.
        first: c, in the paper the classification.
        second: s, in the paper the segmentation.

    Returns:
        (g({c,s}) - g({s}) - g({c}) + g({})) / 12.
    """
    pair: frozenset[Player] = frozenset({first, second})
    remaining = [d for d in _subsets(pair) if d != pair]  # M without {c,s}: {}, {c}, {s}
    weight = shapley_weight(1, len(remaining))  # each D is one element of these three: 1/12
    terms = [weight * interaction_difference(game, d, first, second) for d in remaining]
    return _total(terms)  # Eq. (13)


def _subsets(players: frozenset[Player]) -> Iterator[frozenset[Player]]:
    """Yield all coalitions, the empty one first."""
    members = list(players)
    sizes = (combinations(members, size) for size in range(len(members) + 1))
    return map(frozenset, chain.from_iterable(sizes))


def _weighted_sum(players: frozenset[Player], gain: Callable[[frozenset[Player]], Reward]) -> Reward:
    """Sum P(S | H) gain(S) over all S that are subsets of H = `players`."""
    return _total([shapley_weight(len(s), len(players)) * gain(s) for s in _subsets(players)])


def _total(terms: list[Reward]) -> Reward:
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    return total


def _require(players: frozenset[Player], *named: Player) -> None:
    if len(set(named)) < len(named) or not players.issuperset(named):
        raise InputError(
            f"Players of an interaction must be different members of the game {sorted(map(str, players))}, "
            f"got {', '.join(map(str, named))}."
        )
