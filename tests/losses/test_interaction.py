import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from delineate.checks import InputError
from delineate.losses.interaction import (
    interaction,
    interaction_by_differences,
    interaction_loss,
    shapley_value,
    shapley_weight,
    task_interaction,
)

PLAYERS = frozenset("abcd")
SUBSETS = [frozenset(p for i, p in enumerate("abcd") if number >> i & 1) for number in range(16)]
rewards = st.lists(st.floats(-10, 10), min_size=16, max_size=16)


def game(values):
    return dict(zip(SUBSETS, values, strict=True)).__getitem__


def logit(p):
    return math.log(p / (1 - p))


def test_interaction_loss_by_hand():
    joint = torch.tensor([logit(0.9), logit(0.2), logit(0.5), logit(0.6)]).view(1, 1, 2, 2)
    mask = torch.tensor([logit(0.5), logit(0.7), logit(0.5), logit(0.5)]).view(1, 1, 2, 2)
    assert interaction_loss(joint, mask).item() == pytest.approx((0.4 + 0.5 + 0 + 0.1) / 4, abs=1e-6)


def test_interaction_loss_of_one_channel_is_that_of_two():
    joint, mask = torch.randn(2, 1, 5, 4), torch.randn(2, 1, 5, 4)
    both = [torch.cat([torch.zeros_like(m), m], dim=1) for m in (joint, mask)]
    torch.testing.assert_close(interaction_loss(*both), interaction_loss(joint, mask))


def test_interaction_loss_draws_each_map_to_the_other():
    joint = torch.full((1, 1, 2, 2), 1.0, requires_grad=True)
    mask = torch.full((1, 1, 2, 2), -1.0, requires_grad=True)
    interaction_loss(joint, mask).backward()
    assert (joint.grad > 0).all()  # a step against the gradient lowers joint and raises mask
    assert (mask.grad < 0).all()


def test_interaction_loss_is_float32_under_autocast():
    # In bfloat16 both probabilities would round to the same number.
    joint, mask = torch.full((1, 1, 4, 4), 2.0), torch.full((1, 1, 4, 4), 2.002)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = interaction_loss(joint, mask)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(1 / (1 + math.exp(-2.002)) - 1 / (1 + math.exp(-2)), rel=1e-3)


def test_interaction_loss_wants_two_maps_of_one_shape():
    with pytest.raises(InputError, match="must have one shape, got"):
        interaction_loss(torch.rand(1, 1, 4, 4), torch.rand(1, 1, 4, 5))
    with pytest.raises(InputError, match=r"Logits must have shape \(B, C, H, W\)"):
        interaction_loss(torch.rand(1, 4), torch.rand(1, 4))


def test_shapley_weights_are_a_distribution():
    assert [shapley_weight(size, 3) for size in range(4)] == pytest.approx([1 / 4, 1 / 12, 1 / 12, 1 / 4])
    for players in range(6):
        total = sum(math.comb(players, s) * shapley_weight(s, players) for s in range(players + 1))
        assert total == pytest.approx(1)
    with pytest.raises(InputError, match="A coalition of 2 players has 0 to 2 members, got 3"):
        shapley_weight(3, 2)


def test_shapley_value_of_the_glove_game():
    # One left glove (a) and two right gloves (b, c); a pair is worth 1: 2/3 and twice 1/6.
    def gloves(coalition):
        return float("a" in coalition and len(coalition) > 1)

    values = [shapley_value(gloves, frozenset("abc"), player) for player in "abc"]
    assert values == pytest.approx([2 / 3, 1 / 6, 1 / 6])


@settings(max_examples=30, deadline=None)
@given(rewards)
def test_shares_sum_to_what_all_get_together(values):
    g = game(values)
    shares = sum(shapley_value(g, PLAYERS, player) for player in PLAYERS)
    assert shares == pytest.approx(g(PLAYERS) - g(frozenset()), abs=1e-9)


@settings(max_examples=30, deadline=None)
@given(rewards)
def test_players_that_are_alike_get_the_same(values):
    def swap(coalition):
        return frozenset({"a": "b", "b": "a"}.get(p, p) for p in coalition)

    g = game(values)

    def alike(coalition):
        return g(coalition) + g(swap(coalition))

    a, b = (shapley_value(alike, PLAYERS, player) for player in "ab")
    assert a == pytest.approx(b, abs=1e-9)


@settings(max_examples=30, deadline=None)
@given(rewards, st.floats(-10, 10))
def test_a_player_without_influence_gets_what_it_is_worth_alone(values, worth):
    g = game(values)

    def dummy(coalition):
        return g(coalition - {"a"}) + worth * ("a" in coalition)

    assert shapley_value(dummy, PLAYERS, "a") == pytest.approx(worth, abs=1e-9)
    assert interaction(dummy, PLAYERS, "a", "b") == pytest.approx(0, abs=1e-9)


@settings(max_examples=30, deadline=None)
@given(rewards)
def test_both_forms_of_the_interaction_agree_and_are_symmetric(values):
    g = game(values)
    first = interaction(g, PLAYERS, "a", "b")
    assert first == pytest.approx(interaction_by_differences(g, PLAYERS, "a", "b"), abs=1e-9)
    assert first == pytest.approx(interaction(g, PLAYERS, "b", "a"), abs=1e-9)


@settings(max_examples=30, deadline=None)
@given(st.floats(0, 1), st.floats(0, 1))
def test_equation_13_is_a_twelfth_under_the_papers_conventions(together, alone):
    reward = {"": 0.0, "c": 0.0, "s": alone, "cs": together}

    def g(coalition):
        return reward["".join(sorted(coalition))]

    players = frozenset("cs")
    assert task_interaction(g, "c", "s") == pytest.approx((together - alone) / 12, abs=1e-12)
    # Without the paper's reading of M, Eq. (10)-(12) give the same without the factor.
    assert interaction(g, players, "c", "s") == pytest.approx(together - alone, abs=1e-12)


def test_loss_is_twelve_times_the_interaction_of_probability_maps():
    joint, mask = torch.randn(2, 1, 4, 4), torch.randn(2, 1, 4, 4)
    nothing = torch.zeros(2, 1, 4, 4)
    reward = {"": nothing, "c": nothing, "s": mask.sigmoid(), "cs": joint.sigmoid()}
    i = task_interaction(lambda coalition: reward["".join(sorted(coalition))], "c", "s")
    torch.testing.assert_close(interaction_loss(joint, mask), (12 * i).abs().mean())


def test_players_must_be_in_the_game():
    with pytest.raises(InputError, match=r"different members of the game \['a', 'b', 'c', 'd'\], got a, x"):
        interaction(game([0.0] * 16), PLAYERS, "a", "x")
    with pytest.raises(InputError, match="got a, a"):
        interaction_by_differences(game([0.0] * 16), PLAYERS, "a", "a")
    with pytest.raises(InputError, match="got x"):
        shapley_value(game([0.0] * 16), PLAYERS, "x")
