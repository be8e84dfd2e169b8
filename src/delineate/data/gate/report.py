"""What the gate found, for people and for programs."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from rich.table import Table

Level = Literal["error", "warning", "info"]
LEVELS: tuple[Level, ...] = ("error", "warning", "info")


@dataclass(frozen=True)
class Finding:
    """One thing that a check found."""

    level: Level
    """How bad it is."""
    code: str
    """Name of the kind, stable, for programs."""
    message: str
    """One sentence."""
    ids: tuple[str, ...] = ()
    """The cases it is about."""
    other_ids: tuple[str, ...] = ()
    """Cases of the data set that was given as `against`."""


@dataclass(frozen=True)
class CheckReport:
    """All findings about a data set, errors first."""

    cases: int
    """Number of cases that were checked."""
    findings: tuple[Finding, ...]
    """Errors, then warnings, then information; within a level in the order of `CHECKS`."""

    @property
    def errors(self) -> tuple[Finding, ...]:
        """The findings of level error."""
        return tuple(finding for finding in self.findings if finding.level == "error")

    @property
    def ok(self) -> bool:
        """Whether there is no error."""
        return not self.errors

    def to_json(self) -> dict[str, Any]:
        """Plain lists and dictionaries, for `json.dumps`."""
        return {
            "cases": self.cases,
            "ok": self.ok,
            "findings": [asdict(finding) for finding in self.findings],
        }

    def to_text(self, limit: int = 20) -> str:
        """A summary for people: counts, then one line per finding, at most `limit` per level and code."""
        lines = [self._summary()]
        for (level, code), found in self._by_kind().items():
            lines += [f"{level:<7}  {code}: {finding.message}" for finding in found[:limit]]
            if len(found) > limit:
                lines.append(f"{level:<7}  {code}: {len(found) - limit} more of this kind")
        return "\n".join(lines)

    def to_table(self, limit: int = 3) -> "Table":
        """A table for the terminal: one row per kind of finding, with the first `limit` sentences of each."""
        from rich.table import Table
        from rich.text import Text

        colours = {"error": "bold red", "warning": "yellow", "info": "dim"}
        table = Table(title=self._summary(), title_justify="left", title_style="bold", header_style="bold")
        table.add_column("level", no_wrap=True)
        table.add_column("finding", no_wrap=True)
        table.add_column("number", justify="right", no_wrap=True)
        table.add_column("what", overflow="fold")
        for (level, code), found in self._by_kind().items():
            what = [finding.message for finding in found[:limit]]
            if len(found) > limit:
                what.append(f"... and {len(found) - limit} more")
            # Text, because file names may hold square brackets, which Rich would read as styles.
            table.add_row(Text(level, colours[level]), Text(code), str(len(found)), Text("\n".join(what)))
        return table

    def _summary(self) -> str:
        counts = Counter(finding.level for finding in self.findings)
        return f"{self.cases} cases: {count(counts['error'], 'error')}, {count(counts['warning'], 'warning')}"

    def _by_kind(self) -> dict[tuple[Level, str], list[Finding]]:
        kinds: dict[tuple[Level, str], list[Finding]] = {}
        for finding in self.findings:
            kinds.setdefault((finding.level, finding.code), []).append(finding)
        return kinds


def some(ids: Sequence[str]) -> str:
    """The first five ids, and dots when there are more."""
    return ", ".join(ids[:5]) + (", ..." if len(ids) > 5 else "")


def count(number: int, noun: str) -> str:
    """A number with its noun: "1 mask", "2 masks"."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def size_text(size: tuple[int, int]) -> str:
    """(height, width) as people write it, width first."""
    return f"{size[1]}x{size[0]}"
