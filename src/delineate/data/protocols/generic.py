"""Protocols for any data set."""

from delineate.data.protocols.protocol import Protocol, all_test, in_folds, in_shares, own_split
from delineate.data.splits import FRACTIONS

PROTOCOLS = {
    "own": Protocol(
        "any",
        "The split that the data set comes with (the publisher's parts, or split.csv).",
        "the data set",
        own_split(),
    ),
    "70-15-15": Protocol(
        "any",
        "70 % for training, 15 % for validation, 15 % for testing, stratified by label, groups kept whole, "
        "drawn with the seed.",
        "common practice",
        in_shares(FRACTIONS),
        drawn=True,
    ),
    "k-fold": Protocol(
        "any",
        "Cross-validation with 5 folds or as many as asked for, stratified by label, groups kept whole; 15 % "
        "of the cases outside the test fold for validation; drawn with the seed.",
        "common practice",
        in_folds(val_fraction=0.15),
        folds=5,
        drawn=True,
    ),
    "all-test": Protocol(
        "any",
        "Every case for testing, for data that a model has never seen.",
        "common practice",
        all_test(),
    ),
}
