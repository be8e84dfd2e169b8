"""Data: cases, readers, splits, the integrity gate, the cache, augmentation and the data module."""

from typing import TYPE_CHECKING, Any

from delineate.data.cache import Cache, estimate
from delineate.data.case import Case, MaskEncoding
from delineate.data.dataset import Batch, CaseDataset, Sample, collate, label_indices
from delineate.data.images import image_size, read_image, read_mask
from delineate.data.integrity import CHECKS, CheckReport, Finding, check_cases
from delineate.data.manifest import (
    ManifestEntry,
    SplitManifest,
    apply_manifest,
    fingerprint,
    make_manifest,
    read_manifest,
    write_manifest,
)
from delineate.data.readers import READERS, Reader, index
from delineate.data.splits import complete_splits, k_folds, split_cases
from delineate.data.transforms import Augmentation, augment

if TYPE_CHECKING:
    from delineate.data.module import CaseDataModule, EpochSampler

__all__ = [
    "CHECKS",
    "READERS",
    "Augmentation",
    "Batch",
    "Cache",
    "Case",
    "CaseDataModule",
    "CaseDataset",
    "CheckReport",
    "EpochSampler",
    "Finding",
    "ManifestEntry",
    "MaskEncoding",
    "Reader",
    "Sample",
    "SplitManifest",
    "apply_manifest",
    "augment",
    "check_cases",
    "collate",
    "complete_splits",
    "estimate",
    "fingerprint",
    "image_size",
    "index",
    "k_folds",
    "label_indices",
    "make_manifest",
    "read_image",
    "read_manifest",
    "read_mask",
    "split_cases",
    "write_manifest",
]


def __getattr__(name: str) -> Any:
    """Import the data module when it is first asked for, because Lightning takes seconds to load."""
    if name in ("CaseDataModule", "EpochSampler"):
        from delineate.data import module

        return getattr(module, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
