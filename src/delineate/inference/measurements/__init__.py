"""Measurements of lesions: size, shape, and the A, B, C and D of dermoscopy, in pixels and millimetres."""

from delineate.inference.measurements.catalogue import MEASUREMENTS, Measurement
from delineate.inference.measurements.measure import Lesion, measure

__all__ = ["MEASUREMENTS", "Lesion", "Measurement", "measure"]
