"""The prediction job: from sources of any size to files on disk, the same after a restart."""

from delineate.inference.job.options import JobOptions, Loading
from delineate.inference.job.run import PredictReport, predict_files

__all__ = ["JobOptions", "Loading", "PredictReport", "predict_files"]
