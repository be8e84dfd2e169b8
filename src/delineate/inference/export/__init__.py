"""A trained run as a file that other programs run: ONNX, OpenVINO, TorchScript, torch.export."""

from delineate.inference.export.make import ScoreData, export_folder, export_model
from delineate.inference.export.record import ExportInfo, is_exported, read_record

__all__ = ["ExportInfo", "ScoreData", "export_folder", "export_model", "is_exported", "read_record"]
