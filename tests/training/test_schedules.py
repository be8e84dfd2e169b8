"""Learning rates, step by step, by hand."""

import pytest

from delineate.config import Schedule
from delineate.training.schedules import rate_share


def shares(name, *, warmup=0.0, power=1.0, step_epochs=1, factor=0.5, epochs=4, per_epoch=2):
    schedule = Schedule(
        name=name, warmup_epochs=warmup, power=power, step_epochs=step_epochs, step_factor=factor
    )
    return [
        rate_share(schedule, s, steps_per_epoch=per_epoch, epochs=epochs) for s in range(epochs * per_epoch)
    ]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"name": "constant"}, [1] * 8),
        ({"name": "linear"}, [1, 7 / 8, 6 / 8, 5 / 8, 4 / 8, 3 / 8, 2 / 8, 1 / 8]),
        ({"name": "polynomial", "power": 2.0}, [(1 - s / 8) ** 2 for s in range(8)]),
        ({"name": "step"}, [1, 1, 0.5, 0.5, 0.25, 0.25, 0.125, 0.125]),
        ({"name": "triangular"}, [1 / 8, 3 / 8, 5 / 8, 7 / 8, 7 / 8, 5 / 8, 3 / 8, 1 / 8]),
        ({"name": "linear", "warmup": 1.0}, [1 / 3, 2 / 3, 1, 5 / 6, 4 / 6, 3 / 6, 2 / 6, 1 / 6]),
        ({"name": "constant", "warmup": 2.0}, [0.2, 0.4, 0.6, 0.8, 1, 1, 1, 1]),
    ],
)
def test_shares_by_hand(arguments, expected):
    assert shares(**arguments) == pytest.approx(expected)


@pytest.mark.parametrize("name", ["constant", "linear", "triangular", "polynomial", "step"])
@pytest.mark.parametrize("warmup", [0.0, 0.5, 3.0, 9.0])
def test_every_step_of_every_schedule_learns(name, warmup):
    values = shares(name, warmup=warmup, power=0.96, epochs=6, per_epoch=3)
    assert all(0 < value <= 1 for value in values)


def test_steps_beyond_the_end_stay_at_the_end():
    schedule = Schedule(name="linear", warmup_epochs=0.0, power=1.0, step_epochs=1, step_factor=0.5)
    assert rate_share(schedule, 100, steps_per_epoch=2, epochs=4) == 0
