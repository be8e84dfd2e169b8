"""Start a network from trained halves of others, and keep its encoder as it is.

What CHNet's decoupling study (section 4) does with networks, and any other training that begins at an
earlier run: the encoder from one run, the decoder from another or from random numbers, the encoder frozen.
"""

import copy
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from delineate.checks import InputError
from delineate.models.base import SegmentationModel
from delineate.models.checkpoint import load_model

State = Mapping[str, Tensor]


def start_from(
    model: SegmentationModel,
    *,
    encoder_from: str | Path | None = None,
    decoder_from: str | Path | None = None,
    freeze_encoder: bool = False,
) -> None:
    """Fill the halves of a model from finished runs, in place; the halves are split at `encoder_modules()`.

    Args:
        model: the network, any table row with a pre-trainable encoder.
        encoder_from: run folder whose encoder is copied, weights and batch-norm statistics. It may have more
            levels than `model` uses, not fewer. None keeps what the encoder holds.
        decoder_from: run folder from which everything else is copied; it must fit name by name. Branches that
            exist only in training are not saved with a run, so they keep what they hold. None likewise.
        freeze_encoder: see `freeze`.

    Raises:
        InputError: a folder is no finished run, a half does not fit (the message names levels or weights), or
            `model` has no encoder to fill or freeze.
    """
    if encoder_from is not None:
        source, info = load_model(encoder_from)
        _load_encoder(model, source, f"{encoder_from} ({info.model}, encoder {info.encoder or 'of its own'})")
    if decoder_from is not None:
        source, info = load_model(decoder_from)
        _load_decoder(model, source, f"{decoder_from} ({info.model})")
    if freeze_encoder:
        freeze(_encoders(model))


def freeze(modules: Collection[nn.Module]) -> None:
    """Keep modules as they are: no gradients, and batch-norm statistics and dropout as in evaluation.

    A later `train()` of the model around them changes nothing of this: every part returns to evaluation mode
    before it runs.
    """
    for module in modules:
        module.requires_grad_(False)
        module.eval()
        for part in module.modules():
            part.register_forward_pre_hook(_stay_in_evaluation)


def _stay_in_evaluation(module: nn.Module, _inputs: Any) -> None:
    # On every part, because a model may call parts of its encoder one by one, past the hook of the whole.
    module.training = False


def _encoders(model: SegmentationModel) -> tuple[nn.Module, ...]:
    modules = model.encoder_modules()
    if not modules:
        raise InputError(
            f"{type(model).__name__} names no pre-trainable encoder with these options, so "
            "model.encoder_from and model.freeze_encoder cannot act; give it a timm network as model.encoder."
        )
    return modules


def _load_encoder(model: SegmentationModel, source: SegmentationModel, where: str) -> None:
    wanted, found = _encoders(model), source.encoder_modules()
    if len(wanted) != len(found):
        raise InputError(
            f"The run {where} has {len(found)} encoder(s) and {type(model).__name__} has {len(wanted)}; "
            "take the encoder from a run of a model with as many."
        )
    for target, other in zip(wanted, found, strict=True):
        have, need = other.state_dict(), target.state_dict()
        _check_encoder(have, need, where)
        target.load_state_dict({name: have[name] for name in need})


def _check_encoder(have: State, need: State, where: str) -> None:
    lacking = [name for name in need if name not in have]
    if len(lacking) > len(need) / 2:
        raise InputError(
            f"The encoder of the run {where} is another network: it lacks {lacking[0]} and "
            f"{len(lacking) - 1} more of {len(need)} weights; train both with one model.encoder."
        )
    if lacking:
        levels = list(dict.fromkeys(_level(name, need) for name in lacking))
        raise InputError(
            f"The encoder of the run {where} lacks {', '.join(levels)}, which this model uses; "
            "take the encoder from a model that is at least as deep, or use fewer levels."
        )
    _check_shapes(have, need, f"The encoder of the run {where}", "train both with one model.encoder")


def _level(name: str, names: Collection[str]) -> str:
    """Cut the name of a weight after its level: the first part in which the names of the encoder differ."""
    parts = name.split(".")
    split = [other.split(".") for other in names]
    depth = 0
    while depth < len(parts) - 1 and all(other[: depth + 1] == parts[: depth + 1] for other in split):
        depth += 1
    return ".".join(parts[: depth + 1]).removeprefix("network.")


def _load_decoder(model: SegmentationModel, source: SegmentationModel, where: str) -> None:
    have, own = _decoder_state(source), _decoder_state(model)
    kept = copy.deepcopy(model)
    kept.remove_training_branches()
    saved = kept.state_dict().keys()
    need = {name: value for name, value in own.items() if name in saved}
    lacking, extra = [n for n in need if n not in have], [n for n in have if n not in need]
    if lacking or extra:
        count, verb = (len(lacking), "lacks") if lacking else (len(extra), "also has")
        more = f" and {count - 1} more" if count > 1 else ""
        raise InputError(
            f"The decoder of the run {where} does not fit {type(model).__name__}: it {verb} "
            f"{(lacking or extra)[0]}{more}; take it from a run of the same model, options and labels."
        )
    remedy = "take it from a run with the same encoder levels, options and classes"
    _check_shapes(have, need, f"The decoder of the run {where}", remedy)
    with torch.no_grad():
        for name, value in need.items():
            value.copy_(have[name])


def _decoder_state(model: SegmentationModel) -> dict[str, Tensor]:
    """Return weights and statistics outside of the encoders, by name, sharing memory with the model."""
    encoders = {id(module) for module in model.encoder_modules()}
    prefixes = tuple(f"{name}." for name, module in model.named_modules() if id(module) in encoders)
    return {name: value for name, value in model.state_dict().items() if not name.startswith(prefixes)}


def _check_shapes(have: State, need: State, what: str, remedy: str) -> None:
    for name, value in need.items():
        if have[name].shape != value.shape:
            raise InputError(
                f"{what} has {name} of shape {[*have[name].shape]}, but {[*value.shape]} is needed; {remedy}."
            )
