"""Corrections of masks and labels: kept with who, when and which model; given back as training data."""

from delineate.web.store.correction import Correction, Stored
from delineate.web.store.database import CorrectionStore

__all__ = ["Correction", "CorrectionStore", "Stored"]
