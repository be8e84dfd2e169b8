"""Protocols of the ultrasound, fundus and OCT data sets."""

from delineate.data.protocols.protocol import Protocol, drawn, in_folds, own_split

PROTOCOLS = {
    "busi.fcp-net": Protocol(
        "busi",
        "The 647 images with a tumour (the 133 normal ones are left out): 453 for training, 65 for "
        "validation, 129 for testing. The paper names no ids, so they are drawn with the seed, stratified by "
        "label.",
        "FCP-Net, section V.F",
        drawn({"train": 453, "val": 65, "test": 129}, without_label="normal"),
        drawn=True,
    ),
    "busi.4-fold": Protocol(
        "busi",
        "4 folds over all 780 images, normal ones among them; no validation part, because the papers name "
        "none. They name no ids either, so the folds are drawn with the seed, stratified by label. BUSI "
        "tells no patients and holds many duplicates: with groups.csv, groups stay whole.",
        "CHNet, section 5.1; M2SNet, section 4.1",
        in_folds(total=780, val_fraction=0),
        folds=4,
        drawn=True,
    ),
    "refuge.official": Protocol(
        "refuge",
        "400 for training, 400 for validation, 400 for testing, as the challenge published them; FCP-Net's "
        "table IX uses it.",
        "Orlando et al., Medical Image Analysis 59 (2020) 101570; FCP-Net, section V.D",
        own_split({"train": 400, "val": 400, "test": 400}),
    ),
    "drishti-gs.official": Protocol(
        "drishti-gs",
        "50 for training, 51 for testing, as published; no validation part.",
        "Sivaswamy et al., ISBI 2014 (Drishti-GS)",
        own_split({"train": 50, "test": 51}),
    ),
    "goals2022.official": Protocol(
        "goals2022",
        "100 for training, 100 for the preliminary and 100 for the final round of the challenge (here val "
        "and test); only the 100 training images have public masks, so scores of the other parts came from "
        "the organisers.",
        "Fang et al., arXiv:2207.14447; M2SNet, section 4.1",
        own_split({"train": 100, "val": 100, "test": 100}),
    ),
}
