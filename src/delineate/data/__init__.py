"""Data: cases, readers, splits, the integrity gate, the cache, augmentation and the data module."""

from typing import TYPE_CHECKING, Any

from delineate.data.cache import Cache, Plan
from delineate.data.case import Case, MaskEncoding
from delineate.data.dataset import Batch, CaseDataset, Sample, collate, label_indices
from delineate.data.gate import CHECKS, CheckReport, Finding, check_cases, look_alike_groups
from delineate.data.images import (
    case_image_size,
    image_size,
    read_case_image,
    read_case_mask,
    read_image,
    read_mask,
)
from delineate.data.manifest import (
    ManifestEntry,
    SplitManifest,
    apply_manifest,
    dropped,
    fingerprint,
    is_written_for,
    make_manifest,
    read_manifest,
    write_manifest,
)
from delineate.data.protocols import PROTOCOLS, Protocol, apply_protocol
from delineate.data.readers import READERS, About, Reader, index
from delineate.data.splits import complete_splits, k_folds, split_cases
from delineate.data.transforms import Augmentation, augment
from delineate.data.volumes import volume_slices, volume_spacing

if TYPE_CHECKING:
    from delineate.data.module import CaseDataModule, EpochSampler

__all__ = [
    "CHECKS",
    "PROTOCOLS",
    "READERS",
    "About",
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
    "Plan",
    "Protocol",
    "MaskEncoding",
    "Reader",
    "Sample",
    "SplitManifest",
    "apply_manifest",
    "apply_protocol",
    "augment",
    "case_image_size",
    "check_cases",
    "collate",
    "complete_splits",
    "dropped",
    "fingerprint",
    "image_size",
    "index",
    "is_written_for",
    "k_folds",
    "label_indices",
    "look_alike_groups",
    "make_manifest",
    "read_case_image",
    "read_case_mask",
    "read_image",
    "read_manifest",
    "read_mask",
    "split_cases",
    "volume_slices",
    "volume_spacing",
    "write_manifest",
]


def __getattr__(name: str) -> Any:
    """Import the data module when it is first asked for, because Lightning takes seconds to load."""
    if name in ("CaseDataModule", "EpochSampler"):
        from delineate.data import module

        return getattr(module, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
