"""The gate as a whole: read every file once, then run every check."""

from collections.abc import Sequence

from delineate.data.case import Case
from delineate.data.gate.checks import CHECKS, check_counts
from delineate.data.gate.duplicates import check_against
from delineate.data.gate.facts import Progress, gather
from delineate.data.gate.report import LEVELS, CheckReport
from delineate.data.gate.store import FactStore
from delineate.data.readers.about import About


def check_cases(
    cases: Sequence[Case],
    *,
    about: About | None = None,
    whole: Sequence[Case] | None = None,
    against: Sequence[Case] = (),
    workers: int | None = None,
    progress: Progress | None = None,
    remember: bool = True,
) -> CheckReport:
    """Read every file of a data set and run all checks.

    Memory grows by about 3 kB per case (see benchmarks/gate_memory.py), whatever the size of the images.

    Args:
        cases: an indexed data set with unique ids.
        about: what was published about it; its counts are compared.
        whole: the whole data set, which is counted, when `cases` are those that a protocol takes.
        against: the cases of another data set, with unique ids of its own: pictures that both hold are found.
        workers: number of threads (Pillow decodes outside the interpreter lock); None for one per core.
        progress: called with (done, total) from the calling thread after each case.
        remember: keep facts of files in the cache folder, and believe those of files that are unchanged.

    Returns:
        The report. Bad files are findings, not exceptions.

    Raises:
        InputError: two cases of one data set have the same id.
    """
    total = len(cases) + len(against)
    done = 0

    def step() -> None:
        nonlocal done
        done += 1
        if progress is not None:
            progress(done, total)

    store = FactStore() if remember else None
    facts = gather(cases, store=store, workers=workers, progress=step)
    found = [] if about is None else list(check_counts(about, cases if whole is None else whole))
    found += [finding for check in CHECKS.values() for finding in check(cases, facts)]
    if against:
        others = gather(against, store=store, workers=workers, progress=step)
        found += check_against(cases, facts, against, others)
    return CheckReport(len(cases), tuple(sorted(found, key=lambda finding: LEVELS.index(finding.level))))
