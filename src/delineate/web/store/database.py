"""Where corrections are kept: SQLite by default, PostgreSQL by its address. Nothing is changed or deleted.

A correction is one transaction, and its id is given back only after the database has it on disk. So whoever
got an id finds the correction again, whatever happened to the process.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from delineate.checks import InputError, require
from delineate.web.store.correction import Correction, Stored

SCHEMA_VERSION = 2
_WAIT_SECONDS = 30
_TRIES = 5


def database_url(address: str) -> str:
    """Turn what a user gives, a path or a URL, into the URL of a database.

    Raises:
        InputError: a URL of another kind of database.
    """
    if "://" not in address:
        return f"sqlite:///{Path(address).expanduser()}"
    scheme, rest = address.split("://", 1)
    if scheme in ("postgresql", "postgres", "postgresql+psycopg"):
        require("psycopg", "postgresql")
        return f"postgresql+psycopg://{rest}"
    if scheme == "sqlite":
        return address
    raise InputError(
        f"Corrections are kept in SQLite (a path) or PostgreSQL (postgresql://...), got {scheme}://."
    )


class CorrectionStore:
    """A store of corrections; safe to share between threads and processes.

    Args:
        address: path of an SQLite file, made when it is missing, or a URL.
        must_exist: refuse to make a new one; for reading.

    Raises:
        InputError: the database cannot be reached or made, or is of another kind or version.
    """

    def __init__(self, address: str, *, must_exist: bool = False) -> None:
        require("sqlalchemy", "web")
        from sqlalchemy import create_engine, event, make_url
        from sqlalchemy.exc import ArgumentError, SQLAlchemyError

        from delineate.web.store.tables import meta, metadata

        self._meta = meta
        try:
            url = make_url(database_url(address))
        except ArgumentError as error:
            raise InputError("The address of the store is no URL; give a path or postgresql://...") from error
        self.shown = url.render_as_string(hide_password=True)
        if url.drivername == "sqlite":
            place = Path(url.database or "")
            if must_exist and not place.is_file():
                raise InputError(f"{place} does not exist; name the file that `delineate serve` writes.")
            if not place.parent.is_dir():
                raise InputError(
                    f"The folder {place.parent} does not exist; make it or choose another store."
                )
        arguments = {"timeout": _WAIT_SECONDS} if url.drivername == "sqlite" else {"connect_timeout": 10}
        self._engine = create_engine(url, connect_args=arguments, pool_pre_ping=True)
        if url.drivername == "sqlite":
            event.listen(self._engine, "connect", _make_safe)
        try:
            metadata.create_all(self._engine)
            self._check_version()
        except SQLAlchemyError as error:
            self.close()
            reason = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
            raise InputError(
                f"The store {self.shown} cannot be used ({reason}); check the address."
            ) from error

    def _check_version(self) -> None:
        from sqlalchemy import insert, select
        from sqlalchemy.exc import IntegrityError

        with self._engine.connect() as connection:
            found = connection.scalar(select(self._meta.c.value).where(self._meta.c.key == "schema"))
        if found is None:
            try:
                with self._engine.begin() as connection:
                    connection.execute(insert(self._meta).values(key="schema", value=str(SCHEMA_VERSION)))
            except IntegrityError:
                self._check_version()  # another process was quicker
        elif found == "1":
            self._add_window()
        elif found != str(SCHEMA_VERSION):
            raise InputError(
                f"The store {self.shown} is of version {found}, this program writes {SCHEMA_VERSION}; "
                "update delineate."
            )

    def _add_window(self) -> None:
        """Bring a store of version 1, which has no column for the window, to version 2."""
        from sqlalchemy import text, update

        version = self._meta.c.value
        with self._engine.begin() as connection:
            # The row is locked by the first change, so of two processes only one finds the old version.
            change = update(self._meta).where(self._meta.c.key == "schema", version == "1").values(value="2")
            if connection.execute(change).rowcount:
                connection.execute(text("ALTER TABLE delineate_corrections ADD COLUMN grey_window TEXT"))

    def add(self, correction: Correction, *, key: str | None = None) -> tuple[int, datetime]:
        """Store a correction and return its id and time.

        Args:
            correction: what to store.
            key: of this act of saving. The same correction with the same key is stored once, however often it
                is sent; with another key it is a further row. Without a key it is a further row unless it is
                what the newest correction of its image says already, whose id and time are then returned.

        Raises:
            InputError: the correction is faulty (see `Correction.check`), or the database refuses it.
        """
        from sqlalchemy import insert, select
        from sqlalchemy.exc import IntegrityError

        from delineate.web.store.tables import corrections, images

        correction.check()
        digest = sha256(correction.image).hexdigest()
        for _ in range(_TRIES):
            try:
                with self._transaction() as connection:
                    if key is not None:
                        fingerprint = correction.fingerprint(f"key {key}")
                        query = select(corrections).where(corrections.c.fingerprint == fingerprint)
                    else:
                        query = select(corrections).where(corrections.c.image_sha256 == digest)
                    query = query.order_by(corrections.c.id.desc()).limit(1)
                    row = connection.execute(query).mappings().first()
                    if row is not None and (key is not None or _says(row, correction)):
                        return int(row["id"]), _utc(row["stored_at"])
                    if key is None:  # two that say the same after the same newest one collide
                        fingerprint = correction.fingerprint(f"after {0 if row is None else row['id']}")
                    if connection.scalar(select(images.c.sha256).where(images.c.sha256 == digest)) is None:
                        connection.execute(insert(images).values(sha256=digest, content=correction.image))
                    now = datetime.now(UTC)
                    values = {**_columns(correction), "image_sha256": digest, "stored_at": now}
                    result = connection.execute(insert(corrections).values(fingerprint=fingerprint, **values))
                    key = result.inserted_primary_key
                return int(key[0] if key else 0), now
            except IntegrityError:
                continue  # another process stored the same image or correction meanwhile; look again
        raise InputError(f"The store {self.shown} refuses the correction; try again.")

    def list(
        self, *, limit: int = 100, before: int | None = None, author: str | None = None
    ) -> list[dict[str, Any]]:
        """List corrections, newest first, without pictures.

        Args:
            limit: most rows.
            before: only ids below it, for paging.
            author: only this author's.
        """
        from sqlalchemy import select

        from delineate.web.store.tables import corrections

        light = [c for c in corrections.c if c.name not in ("mask", "predicted_mask", "fingerprint")]
        query = select(*light).order_by(corrections.c.id.desc()).limit(limit)
        if before is not None:
            query = query.where(corrections.c.id < before)
        if author is not None:
            query = query.where(corrections.c.author == author)
        with self._reading() as connection:
            rows = connection.execute(query).mappings().all()
        return [_shown(dict(row)) for row in rows]

    def get(self, key: int) -> Stored | None:
        """Return one correction with its pictures, or None."""
        return next(self._read(key), None)

    def __iter__(self) -> Iterator[Stored]:
        """Yield all corrections, oldest first, one in memory at a time."""
        from sqlalchemy import select

        from delineate.web.store.tables import corrections

        with self._reading() as connection:
            keys = connection.scalars(select(corrections.c.id).order_by(corrections.c.id)).all()
        for key in keys:
            yield from self._read(key)

    def _read(self, key: int) -> Iterator[Stored]:
        from sqlalchemy import select

        from delineate.web.store.tables import corrections, images

        query = (
            select(corrections, images.c.content)
            .join(images, images.c.sha256 == corrections.c.image_sha256)
            .where(corrections.c.id == key)
        )
        with self._reading() as connection:
            row = connection.execute(query).mappings().first()
        if row is not None:
            yield Stored(int(row["id"]), _utc(row["stored_at"]), row["image_sha256"], _correction(dict(row)))

    @contextmanager
    def _transaction(self) -> Iterator[Any]:
        from sqlalchemy.exc import DataError, IntegrityError, SQLAlchemyError

        try:
            with self._engine.begin() as connection:
                yield connection
        except IntegrityError:
            raise
        except DataError as error:  # the value's fault, which trying again would not mend
            reason = str(error.orig or error).strip().splitlines()[0]
            raise InputError(
                f"The store {self.shown} cannot hold the correction ({reason}); correct it."
            ) from error
        except SQLAlchemyError as error:
            reason = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
            raise StoreError(f"The store {self.shown} did not take it ({reason}); try again.") from error

    @contextmanager
    def _reading(self) -> Iterator[Any]:
        from sqlalchemy.exc import SQLAlchemyError

        try:
            with self._engine.connect() as connection:
                yield connection
        except SQLAlchemyError as error:
            reason = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
            raise StoreError(f"The store {self.shown} cannot be read ({reason}); try again.") from error

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class StoreError(InputError):
    """The database failed, not the correction; trying again makes sense."""


def _make_safe(connection: Any, _record: Any) -> None:
    """SQLite: readers beside a writer, and an answer only after the bytes are on disk."""
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _columns(correction: Correction) -> dict[str, Any]:
    names = ("filename", "model", "identity", "mask", "predicted_mask", "label", "author", "comment")
    values = {name: getattr(correction, name) for name in (*names, "seconds")}
    lists = {"classes": json.dumps(correction.classes), "labels": json.dumps(correction.labels)}
    window = None if correction.window is None else json.dumps(correction.window)
    return values | lists | {"grey_window": window}


def _says(row: Mapping[str, Any], correction: Correction) -> bool:
    """Whether a row of the same image says the same."""
    kept = _correction({**row, "content": correction.image})
    return kept.fingerprint() == correction.fingerprint()


def _window(text: str | None) -> tuple[float, float] | None:
    if text is None:
        return None
    low, high = json.loads(text)
    return low, high


def _correction(row: dict[str, Any]) -> Correction:
    return Correction(
        filename=row["filename"],
        image=bytes(row["content"]),
        model=row["model"],
        identity=row["identity"],
        classes=tuple(json.loads(row["classes"])),
        labels=tuple(json.loads(row["labels"])),
        mask=None if row["mask"] is None else bytes(row["mask"]),
        predicted_mask=None if row["predicted_mask"] is None else bytes(row["predicted_mask"]),
        label=row["label"],
        author=row["author"],
        comment=row["comment"],
        seconds=row["seconds"],
        window=_window(row["grey_window"]),
    )


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    row["stored_at"] = _utc(row["stored_at"]).isoformat(timespec="milliseconds")
    row["classes"], row["labels"] = json.loads(row["classes"]), json.loads(row["labels"])
    row["window"] = _window(row.pop("grey_window"))
    return row


def _utc(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
