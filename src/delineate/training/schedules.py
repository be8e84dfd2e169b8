"""Learning-rate schedules: the share of the full rate at each step of a run."""

from delineate.config import Schedule


def rate_share(schedule: Schedule, step: int, *, steps_per_epoch: int, epochs: int) -> float:
    """Return the factor, in [0, 1], by which every learning rate is multiplied at `step`.

    Warm-up rises linearly and ends at the full rate; the schedule proper then runs over what is left,
    t = 0 at its first step, so that the last step still learns (t < 1).

    Args:
        schedule: the recipe's section.
        step: optimiser steps done so far, from 0.
        steps_per_epoch: optimiser steps in one epoch, at least 1.
        epochs: length of the run.

    Source:
        triangular: Smith, Cyclical Learning Rates, WACV 2017, one cycle whose peak is the middle (M2SNet);
        polynomial: lr = lr0 (1 - step / total)^power (CLNet, section 3.1); step: ULFFN, section 4.2.
    """
    warmup = round(schedule.warmup_epochs * steps_per_epoch)
    if step < warmup:
        return (step + 1) / (warmup + 1)
    total = max(1, epochs * steps_per_epoch - warmup)
    t = min(1.0, (step - warmup) / total)
    if schedule.name == "constant":
        return 1.0
    if schedule.name == "linear":
        return 1 - t
    if schedule.name == "triangular":
        # Half a step is added so that neither the first nor the last step has a rate of zero.
        return 1 - abs(2 * min(1.0, (step - warmup + 0.5) / total) - 1)
    if schedule.name == "polynomial":
        return (1 - t) ** schedule.power
    done = (step - warmup) // (schedule.step_epochs * steps_per_epoch)
    return schedule.step_factor**done
