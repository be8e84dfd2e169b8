"""Protocols of the skin lesion data sets."""

from delineate.data.protocols.protocol import Protocol, drawn, in_folds, own_split

LABELLED_TWICE = ("ISIC_0000077", "ISIC_0000511", "ISIC_0010094")
"""Images of ISIC 2018 whose labels differ between ISIC 2016 and ISIC 2017 (FCP-Net, section V.C)."""

_FCP_NET = "FCP-Net"
_ULFFN = "ULFFN, section 4.1"

PROTOCOLS = {
    "isic2016.official": Protocol(
        "isic2016",
        "900 for training, 379 for testing, as the challenge published them; no validation part.",
        "ISBI 2016 challenge, part 1; ULFFN, section 4.1 (which also says 350 test images once)",
        own_split({"train": 900, "test": 379}),
    ),
    "isic2016.ulffn": Protocol(
        "isic2016",
        "700 for training and 200 for validation out of the 900, 379 official test images. The paper drew "
        "the 200 by chance and names none, so they are drawn with the seed, stratified by label.",
        _ULFFN,
        drawn({"train": 700, "val": 200}, within="train", keep={"test": 379}),
        drawn=True,
    ),
    "isic2017.official": Protocol(
        "isic2017",
        "2000 for training, 150 for validation, 600 for testing, as the challenge published them. FCP-Net's "
        "table VII and CLNet use it.",
        "ISIC 2017 challenge (arXiv:1710.05006); FCP-Net, section V.C; CLNet, section 3",
        own_split({"train": 2000, "val": 150, "test": 600}),
    ),
    "isic2017.fcp-net-ablation": Protocol(
        "isic2017",
        "The 2000 official training images alone, divided into 1250, 150 and 600; the official validation "
        "and test images are left out. The paper says that the training set has 2000 images, 1250 of them "
        "for training, 150 for validation and 600 for testing, which together are the 2000; it names no ids, "
        "so they are drawn with the seed, stratified by label.",
        f"{_FCP_NET}, section V.B, tables I to VI",
        drawn({"train": 1250, "val": 150, "test": 600}, within="train"),
        drawn=True,
    ),
    "isic2017.ulffn-test": Protocol(
        "isic2017",
        "The 600 official test images alone, to test a model that was trained on ISIC 2016 (isic2016.ulffn). "
        "Some of ISIC 2016's images come again in ISIC 2017: check the two against each other.",
        f"{_ULFFN}, table 3",
        own_split({"test": 600}),
    ),
    "isic2018.official": Protocol(
        "isic2018",
        "2594 for training, 100 for validation, 1000 for testing, as the challenge published them.",
        "ISIC 2018 challenge, task 1 (arXiv:1902.03368)",
        own_split({"train": 2594, "val": 100, "test": 1000}),
    ),
    "isic2018.fcp-net": Protocol(
        "isic2018",
        "The 2594 training images without ISIC_0000077, ISIC_0000511 and ISIC_0010094 (labelled differently "
        "in 2016 and 2017): 1886 for training, 141 for validation, 564 for testing. The paper names no ids, "
        "so they are drawn with the seed, stratified by label where there are labels.",
        f"{_FCP_NET}, section V.C",
        drawn({"train": 1886, "val": 141, "test": 564}, within="train", without=LABELLED_TWICE),
        drawn=True,
    ),
    "ph2.fcp-net": Protocol(
        "ph2",
        "144 for training, 16 for validation, 40 for testing. The paper uses PH2 (160 naevi, 40 melanomas) "
        "but says nothing of how it is divided: a fifth for testing and a tenth of the rest for validation "
        "are this project's choice, drawn with the seed, stratified by label.",
        f"{_FCP_NET}, section V.C and discussion, table XIII",
        drawn({"train": 144, "val": 16, "test": 40}),
        drawn=True,
    ),
    "ham10000.lesion-folds": Protocol(
        "ham10000",
        "5 folds over the 10015 images, all images of a lesion in one fold (7470 lesions), stratified by "
        "diagnosis, 15 % of the images outside the test fold for validation; drawn with the seed.",
        "this project; lesion ids from Tschandl et al., Scientific Data 5:180161 (2018)",
        in_folds(total=10015, val_fraction=0.15, groups="lesion"),
        folds=5,
        drawn=True,
    ),
}
