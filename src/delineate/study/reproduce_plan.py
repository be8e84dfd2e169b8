"""What of a published table can be repeated here, and the studies that repeat it."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from delineate.checks import InputError, choose
from delineate.data.protocols import apply_protocol, number_of_folds
from delineate.data.readers import index
from delineate.metrics import METRICS
from delineate.recipe_io import load_recipe
from delineate.study.plan import Study, parse_study, plan_runs
from delineate.study.published import PublishedValue, conventions, published_values
from delineate.study.reproduce_spec import COST, EPOCHS, PaperSpec, Part, Row, Source, TableSpec, table_spec
from delineate.yaml_io import read_yaml

LEAKS = (
    "duplicate-in-two-splits",
    "duplicate-with-two-labels",
    "group-in-two-splits",
    "near-duplicate-in-two-splits",
    "near-duplicate-with-two-labels",
)
"""Findings of the data gate that published splits have; they are taken as published, and recorded."""

State = Literal["run", "cost", "data", "cannot"]


@dataclass(frozen=True)
class Place:
    """One data set of a table, as found here."""

    source: Source
    folder: Path
    dataset: str
    """The reader that fits."""
    protocol: str
    cases: int
    """0 when it is not there."""
    reason: str
    """Why it cannot be used, a sentence, or ""."""


@dataclass(frozen=True)
class Entry:
    """One method on one column of the table."""

    method: str
    dataset: str
    """The column, as the paper calls it."""
    state: State
    """run: trained and scored; cost: measured without data; data: its data is missing; cannot: no way."""
    reason: str
    """Why it is not run, or ""."""
    note: str
    """What limits the comparison, or ""."""
    parts: tuple[str, ...]
    """What is measured: keys of the table's parts."""


@dataclass(frozen=True)
class PlannedStudy:
    """All trainings on one data set."""

    source: str
    study: Study
    systems: dict[tuple[str, str], str]
    """(method, part) -> name of the system."""
    baselines: dict[tuple[str, str], str]
    """(method, part) -> name of the system that it is tested against."""


@dataclass(frozen=True)
class Plan:
    """How one table is repeated here."""

    paper: str
    table: str
    spec: PaperSpec
    wanted: TableSpec
    values: tuple[PublishedValue, ...]
    entries: tuple[Entry, ...]
    places: dict[str, Place]
    """Source -> what was found."""
    studies: tuple[PlannedStudy, ...]
    changes: dict[str, Any]
    """Changes of every recipe that were asked for."""
    replaced: str
    """The protocol that was asked for in place of the paper's, or ""."""

    def entry(self, method: str, dataset: str) -> Entry | None:
        """The entry of a method on a column; None when only some rows were asked for."""
        found = (e for e in self.entries if (e.method, e.dataset) == (method, dataset))
        return next(found, None)

    def parts_of(self, value: PublishedValue) -> tuple[str, ...]:
        """The parts that a published figure is the mean of."""
        row = self.wanted.rows[value.method]
        named = self.wanted.metrics.get(value.metric, self.wanted.columns[value.dataset])
        return tuple(name for name in named if row.parts is None or name in row.parts)

    @property
    def possible(self) -> bool:
        """Whether anything of the table can be had here: a training, or a cost that needs no data."""
        entries = [(self.entry(value.method, value.dataset), value.metric) for value in self.values]
        return any(
            entry is not None
            and (entry.state in ("run", "cost") or (entry.state == "data" and metric in COST))
            for entry, metric in entries
        )

    @property
    def runs(self) -> int:
        """How many trainings there are."""
        return sum(len(plan_runs(planned.study)) for planned in self.studies)

    def caveats(self) -> list[str]:
        """What limits the whole comparison, in sentences."""
        said = []
        if self.changes:
            keys = ", ".join(self.changes)
            said.append(f"The recipes were changed ({keys}), so the figures are not those of the paper.")
        if self.replaced:
            said.append(
                f"The data was divided by the protocol {self.replaced}, not as the paper says, so the test "
                "cases differ."
            )
        drawn = {p.protocol for p in self.places.values() if not p.reason}
        for name in sorted(drawn):
            if not self.replaced and _is_drawn(name):
                said.append(f"{name}: the paper names no ids, so the split was drawn here.")
        return said


def plan_table(
    paper: str,
    table: str,
    root: Path,
    *,
    overrides: Sequence[str] = (),
    seeds: Sequence[int] = (0,),
    split_seed: int = 0,
    rows: Sequence[str] = (),
    protocol: str | None = None,
) -> Plan:
    """Find out which rows of a published table can be repeated with the data at hand.

    Indexes the data sets that the table needs and divides them by the paper's protocol, so that incomplete
    data is found now; nothing is trained and nothing written.

    Args:
        paper: key of `published.PAPERS`.
        table: its number, as the paper prints it.
        root: folder with one folder per data set.
        overrides: "section.key=value" each, applied to every recipe.
        seeds: of the trainings.
        split_seed: of splits that the paper does not publish.
        rows: methods, as the table calls them or the beginning of one; () for all.
        protocol: in place of the paper's, for trying out on other data.

    Raises:
        InputError: there is no such paper, table, row, folder or protocol, or a change does not fit.
    """
    spec, wanted = table_spec(paper, table)
    rows = [_row(row, wanted, f"row of table {table} of {paper}") for row in rows]
    if not root.is_dir():
        raise InputError(f"The folder {root} does not exist; name the folder that holds the data sets.")
    changes = _changes(overrides)
    chosen = {name: row for name, row in wanted.rows.items() if not rows or name in rows}
    values = tuple(v for v in published_values(paper, table) if v.method in chosen)
    needed = {
        name
        for method, row in chosen.items()
        if not spec.reason(row)
        for part in _parts(wanted, row)
        for name in (wanted.parts[part].source, wanted.parts[part].test_on)
        if name is not None
    }
    places = {
        name: _place(root, source, None if source.hidden else protocol)
        for name, source in spec.sources.items()
        if name in needed
    }
    entries = [
        _entry(spec, wanted, method, row, dataset, places)
        for dataset in dict.fromkeys(value.dataset for value in values)
        for method, row in chosen.items()
        if any(v.method == method and v.dataset == dataset for v in values)
    ]
    job = _Job(paper, table, spec, wanted, changes, tuple(seeds), split_seed)
    studies = [
        planned for name in places if (planned := _study(job, name, places[name], entries)) is not None
    ]
    return Plan(
        paper, table, spec, wanted, values, tuple(entries), places, tuple(studies), changes, protocol or ""
    )


@dataclass(frozen=True)
class _Job:
    """What all studies of a table share."""

    paper: str
    table: str
    spec: PaperSpec
    wanted: TableSpec
    changes: dict[str, Any] = field(hash=False)
    seeds: tuple[int, ...]
    split_seed: int


def _parts(wanted: TableSpec, row: Row) -> tuple[str, ...]:
    named = [part for group in (wanted.columns, wanted.metrics) for names in group.values() for part in names]
    return tuple(dict.fromkeys(part for part in named if row.parts is None or part in row.parts))


def _row(name: str, wanted: TableSpec, kind: str) -> str:
    """The row that is meant: "CHNet" is enough for "CHNet (ours)" when no other row begins so."""
    begun = [row for row in wanted.rows if row.lower().startswith(name.lower())]
    if name not in wanted.rows and len(begun) == 1:
        return begun[0]
    choose(kind, name, wanted.rows)
    return name


def _changes(overrides: Sequence[str]) -> dict[str, Any]:
    changes = {}
    for override in overrides:
        key, equals, value = override.partition("=")
        if not equals or not key:
            raise InputError(f"--set needs the form section.key=value, got {override!r}.")
        changes[key] = read_yaml(value, f"--set {override}: the value")
    return changes


def _place(root: Path, source: Source, protocol: str | None) -> Place:
    """Look whether a data set is there, whole, and divided as the protocol wants it."""
    folder, name = root / source.folder, protocol or source.protocol
    reader, cases, reason = source.dataset, 0, source.hidden
    get = (
        f" `delineate datasets {source.dataset}` says where to get it." if source.dataset != "folder" else ""
    )
    make = f" Write it with: {source.make}." if source.make else ""
    if not reason and not folder.is_dir():
        reason = f"The data is missing at {folder}.{make or get}"
    if not reason:
        try:
            reader, found = _index(folder, source.dataset)
            fold = None if number_of_folds(name) is None else 0
            divided = apply_protocol(found, name, seed=0, fold=fold)
            cases = len(divided)
            if not any(case.split == "test" for case in divided):
                reason = f"The data at {folder} has no test part, on which the paper scores."
        except InputError as error:
            reason = f"{error}{make}"
    return Place(source, folder, reader, name, cases, reason)


def _index(folder: Path, dataset: str) -> tuple[str, list[Any]]:
    """Index a data set with its reader, or as a plain folder with the publisher's ids."""
    try:
        return dataset, index(folder, dataset)
    except InputError:
        if dataset == "folder" or not (folder / "images").is_dir():
            raise
        return "folder", index(folder, "folder")


def _entry(
    spec: PaperSpec, wanted: TableSpec, method: str, row: Row, dataset: str, places: dict[str, Place]
) -> Entry:
    parts = tuple(p for p in wanted.columns[dataset] if row.parts is None or p in row.parts)
    note = spec.note(row)
    if reason := spec.reason(row):
        return Entry(method, dataset, "cannot", reason, note, parts)
    lacking: dict[str, Place] = {}
    data = False
    for part in parts:
        for name in (wanted.parts[part].source, wanted.parts[part].test_on):
            data = data or name is not None
            if name is not None and places[name].reason:
                lacking[part] = places[name]
    if not data:
        return Entry(method, dataset, "cost", "", note, parts)
    if len(lacking) == len(parts) or (lacking and not wanted.metrics):
        place = next(iter(lacking.values()))
        return Entry(method, dataset, "cannot" if place.source.hidden else "data", place.reason, note, parts)
    return Entry(method, dataset, "run", " ".join(p.reason for p in lacking.values()), note, parts)


def _study(job: _Job, name: str, place: Place, entries: Sequence[Entry]) -> PlannedStudy | None:
    """Make the study of all trainings on one data set, each network once however often it is scored."""
    systems: dict[tuple[str, str], str] = {}
    baselines: dict[tuple[str, str], str] = {}
    content: dict[str, dict[str, Any]] = {}
    for entry in entries:
        row = job.wanted.rows[entry.method]
        for part in entry.parts:
            there = job.wanted.parts[part]
            if entry.state != "run" or there.source != name or place.reason:
                continue
            systems[entry.method, part] = _system(content, entry.method, part, *_recipe(job, row, there))
            if row.against is not None:
                baselines[entry.method, part] = _system(content, row.against, part, row.against, {})
    if not content:
        return None
    study = {
        "name": f"{job.paper}, table {job.table}: {job.wanted.title}",
        "summary": f"Repeats the published table on {place.folder.name}.",
        "systems": list(content.values()),
        "data": [
            {
                "name": _slug(name),
                "root": str(place.folder.absolute()),
                "dataset": place.dataset,
                "protocol": place.protocol,
                "split_seed": job.split_seed,
                "accept": list(LEAKS),
                "set": job.changes,
            }
        ],
        "seeds": list(job.seeds),
        "evaluate": {"split": "test", "metrics": list(scores_needed(job.paper, job.table, job.wanted))},
    }
    where = f"table {job.table} of {job.paper}"
    parsed = parse_study(study, where=where, folder=place.folder.absolute())
    plan_runs(parsed)  # refuses now what does not fit
    return PlannedStudy(name, parsed, systems, baselines)


def _system(
    content: dict[str, dict[str, Any]], method: str, part: str, recipe: str, changes: dict[str, Any]
) -> str:
    """Enter a network unless it is there; returns its name."""
    wanted = {"recipe": recipe, "set": changes}
    for name, one in content.items():
        if {key: one[key] for key in wanted} == wanted:
            return name
    name = _slug(method)
    if name in content:
        name = f"{name}-{_slug(part)}"
    content[name] = {"name": name} | wanted
    return name


def _recipe(job: _Job, row: Row, part: Part) -> tuple[str, dict[str, Any]]:
    changes = {} if row.like is None else job.spec.presets[row.like]
    return row.recipe or part.recipe, changes


def recipe_of(plan: Plan, row: Row, part: Part) -> Any:
    """Load the recipe of a row on a part, with the plan's changes."""
    changes = ({} if row.like is None else plan.spec.presets[row.like]) | plan.changes
    texts = [f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in changes.items()]
    return load_recipe(row.recipe or part.recipe, texts)


def candidates(paper: str, table: str, wanted: TableSpec, metric: str) -> tuple[tuple[str, str], ...]:
    """Our scores that a word of a table may mean, with the reason; () for costs and lost headers."""
    if metric in COST or metric == EPOCHS:
        return ()
    found = conventions(paper, wanted.scores_of or table, metric)
    named = [(one.name, one.reason) for one in found]
    if wanted.scores_of is not None:  # a t-test needs a score of every case
        named = [(name, reason) for name, reason in named if METRICS[name].image is not None]
    return tuple(named)


def scores_needed(paper: str, table: str, wanted: TableSpec) -> tuple[str, ...]:
    """The scores beyond overlap, pooled and label ones that a table's words may mean."""
    words = dict.fromkeys(value.metric for value in published_values(paper, table))
    names = dict.fromkeys(name for word in words for name, _ in candidates(paper, table, wanted, word))
    return tuple(
        name
        for name in names
        if METRICS[name].kind != "overlap" and (METRICS[name].image or METRICS[name].histograms)
    )


def _slug(text: str) -> str:
    """Make a name that can be part of a file's."""
    plain = text.replace("+", " plus ").replace("α", "alpha").replace("β", "beta")
    return re.sub(r"[^A-Za-z0-9.]+", "-", plain).strip("-.")[:60]


def _is_drawn(protocol: str) -> bool:
    from delineate.data.protocols import PROTOCOLS

    return PROTOCOLS[protocol].drawn
