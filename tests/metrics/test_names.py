"""Names of scores and groups."""

import pytest

from delineate.checks import InputError
from delineate.metrics import METRICS
from delineate.metrics.names import GROUPS, expand_names, needs_histograms, read_name


def test_groups_and_names_are_expanded_in_order_and_once():
    found = expand_names(["msnet", "hd95", "nsd@2", "msnet_s", "hd95", "boundary"])
    assert found == (
        *("msnet_mdice", "msnet_miou", "msnet_s", "msnet_e", "msnet_wfm", "msnet_mae"),
        *("hd95", "nsd@2", "hd", "assd"),
    )
    assert expand_names([]) == ()


def test_every_score_that_can_be_asked_for_is_in_a_group_of_its_own_and_in_all():
    askable = {name for name, row in METRICS.items() if row.kind not in ("count", "total")}
    assert {name.split("@")[0] for name in GROUPS["all"]} == askable
    others = [name for group, names in GROUPS.items() if group != "all" for name in names]
    assert sorted(others) == sorted(GROUPS["all"])
    assert not set(GROUPS) & set(METRICS)
    for name in GROUPS["all"]:
        read_name(name)


def test_a_name_is_read_with_its_number():
    one = read_name("dice_batch@16")
    assert (one.name, one.number, one.metric) == ("dice_batch", 16, METRICS["dice_batch"])
    assert read_name("label_sensitivity").number is None
    assert read_name("label_sensitivity@0.3").number == 0.3


def test_histograms_are_needed_by_scores_of_the_set_only():
    assert needs_histograms(["dice", "pranet_maxDic"])
    assert needs_histograms(GROUPS["pixels"])
    assert not needs_histograms(["pranet_meanDic", "auc_pixel", "dice_batch@8"])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("pranet_meanDice", "Unknown metric or group 'pranet_meanDice'. Did you mean 'pranet_meanDic'?"),
        ("prannet", "Unknown metric or group 'prannet'. Did you mean 'pranet'?"),
        ("nsd", "write nsd@NUMBER, the tolerance in px or mm"),
        ("dice_batch", "write dice_batch@NUMBER, the images per batch"),
        ("dice_batch@0", "needs a whole number of images from 1, such as dice_batch@8"),
        ("dice_batch@2.5", "needs a whole number of images from 1"),
        ("label_sensitivity@3", "needs a probability from 0 to 1, such as label_sensitivity@0.3"),
        ("nsd@-1", "needs a finite number of at least 0, such as nsd@2"),
        ("nsd_px@inf", "needs a finite number of at least 0"),
        ("hd95@2", "takes no number; write hd95"),
        ("nsd@two", "needs a number after '@', for example nsd@2"),
        ("tp", "'tp' is counted always; leave it out of the names of scores"),
    ],
)
def test_wrong_names(name, message):
    with pytest.raises(InputError) as error:
        expand_names([name])
    assert message in str(error.value)


def test_one_string_is_no_list_of_names():
    with pytest.raises(InputError, match="must be a sequence of names, got 'pranet'"):
        expand_names("pranet")
