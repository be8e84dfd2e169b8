"""Checkpoints that are whole or not there, and are read without unpickling."""

import io
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO

from delineate.files import atomic_path


class AtomicCheckpointIO(TorchCheckpointIO):
    """Write beside the target and move into place.

    Lightning's own writing goes through a temporary folder, which may lie on another disk: a crash or a full
    disk while the file is copied then leaves half a checkpoint.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        content = io.BytesIO()  # torch's own file writer hides a full disk behind an unrelated error
        torch.save(checkpoint, content)
        with atomic_path(Path(path)) as temporary, temporary.open("wb") as file:
            file.write(content.getbuffer())
