"""What runs a trained network: PyTorch, ONNX Runtime or OpenVINO, behind one call."""

from delineate.inference.backends.base import Backend, choose_device, device_name
from delineate.inference.backends.torch_backend import TorchBackend

__all__ = ["Backend", "TorchBackend", "choose_device", "device_name"]
