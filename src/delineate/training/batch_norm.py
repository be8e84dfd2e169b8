"""Batch normalisation over the batch of all processes, so that a batch is what the recipe says."""

from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from delineate.processes import Processes


def synchronise_batch_norm(model: nn.Module, processes: Processes) -> None:
    """Let every trained batch-norm layer of a model take its statistics over all processes, in place.

    On GPUs these are PyTorch's own layers. PyTorch has none for processors, so there it is
    `ProcessorSyncBatchNorm`. Weights keep their identity and their names. Frozen layers, which are in
    evaluation mode, stay what they are.
    """
    if processes.size == 1:
        return
    from timm.layers.norm_act import convert_sync_batchnorm  # knows timm's layers with an activation inside

    on_gpu = processes.device is not None and processes.device.type == "cuda"
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, _BatchNorm) and child.training:
                made = convert_sync_batchnorm(child) if on_gpu else ProcessorSyncBatchNorm(child)
                setattr(parent, name, made)


class ProcessorSyncBatchNorm(_BatchNorm):
    """What `torch.nn.SyncBatchNorm` is on GPUs, for processes that compute on processors.

    Args:
        layer: the layer to stand in for; its weights and statistics are shared, not copied. An activation
            that it holds (`timm.layers.BatchNormAct2d`) is kept.

    Shape:
        (B, C, ...) float -> the same. B may differ between the processes.

    Source:
        Ioffe and Szegedy, Batch Normalization, ICML 2015, arXiv:1502.03167, algorithms 1 and 2.
    """

    def __init__(self, layer: _BatchNorm) -> None:
        super().__init__(
            layer.num_features, layer.eps, layer.momentum, layer.affine, layer.track_running_stats
        )
        for store in ("_parameters", "_buffers"):
            for name, value in getattr(layer, store).items():
                getattr(self, store)[name] = value
        self.drop = getattr(layer, "drop", nn.Identity())
        self.act = getattr(layer, "act", nn.Identity())

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            y = self._normalised(x)
        else:
            alone = self.running_mean is None
            y = F.batch_norm(
                x, self.running_mean, self.running_var, self.weight, self.bias, alone, 0.0, self.eps
            )
        return self.act(self.drop(y))

    def _normalised(self, x: Tensor) -> Tensor:
        axes = [0, *range(2, x.ndim)]
        wide = x if x.dtype == torch.float64 else x.float()
        count = wide.new_tensor([x.numel() / x.shape[1]])
        total = _Sum.apply(torch.cat([wide.sum(axes), count]))
        n = total[-1].detach()
        mean = total[:-1] / n
        centred = wide - _per_channel(mean, x)
        variance = _Sum.apply(centred.square().sum(axes)) / n  # biased, in two passes: no cancellation
        self._follow(mean.detach(), variance.detach() * n / (n - 1).clamp(min=1))
        y = centred * _per_channel((variance + self.eps).rsqrt(), x)
        if self.affine:
            y = y * _per_channel(self.weight, x) + _per_channel(self.bias, x)
        return y.to(x.dtype)

    @torch.no_grad()
    def _follow(self, mean: Tensor, variance: Tensor) -> None:
        """Update the statistics that evaluation uses."""
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked.add_(1)
        share = self.momentum if self.momentum is not None else 1 / float(self.num_batches_tracked)
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), share)
        self.running_var.lerp_(variance.to(self.running_var.dtype), share)


class _Sum(torch.autograd.Function):
    """Sum over all processes; what one gives, all get, so the gradients add up, too."""

    @staticmethod
    def forward(ctx: Any, part: Tensor) -> Tensor:
        total = part.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        total = gradient.contiguous().clone()
        dist.all_reduce(total)
        return total


def _per_channel(values: Tensor, like: Tensor) -> Tensor:
    return values.view(1, -1, *[1] * (like.ndim - 2))
