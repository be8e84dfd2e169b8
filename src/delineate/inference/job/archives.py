"""Pictures inside zip and tar archives, listed and read one by one without unpacking the rest.

A zip's table of contents is read here entry by entry: `zipfile` keeps about 0.6 kB per entry in memory, and
every process would read the whole table again to open one member. A member is told by its place in the
archive, so any thread or machine can read it. Of a compressed tar only the beginning has a place: it is read
from front to back.

Nothing an archive says is believed: names may not lead out of a folder, a member may not hold more bytes than
its entry says or others than its checksum says, and an archive may not grow beyond all measure.
"""

import errno
import struct
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from delineate.checks import InputError
from delineate.data.fetch.unpack import Limits

ENDINGS = (".zip", ".tar", ".tar.gz", ".tgz")
"""Endings of the archives that are read, in lower case."""

_LIMITS = Limits()
_LARGEST_MEMBER = 2**33
_CHUNK = 2**18
_DAMAGE = (tarfile.TarError, zlib.error, EOFError, struct.error, OSError, ValueError, OverflowError)

_END, _END_MARK = struct.Struct("<4s4H2LH"), b"PK\5\6"
_END64, _END64_MARK = struct.Struct("<4sQ2H2L4Q"), b"PK\6\6"
_LOCATOR64, _LOCATOR64_MARK = struct.Struct("<4sLQL"), b"PK\6\7"
_ENTRY, _ENTRY_MARK = struct.Struct("<4s6H3L5H2L"), b"PK\1\2"
_LOCAL, _LOCAL_MARK = struct.Struct("<4s5H3L2H"), b"PK\3\4"
_FULL = 0xFFFFFFFF  # stands for a number in the zip64 field
_METHODS = {0: "stored", 8: "deflated"}


@dataclass(frozen=True, slots=True)
class Member:
    """One file in an archive."""

    archive: str
    name: str
    """As the archive has it, with "/" between folders."""
    how: str
    """"stored" or "deflated" in a zip, "tar" for a plain tar, "stream" for a compressed one, or "" with a
    fault."""
    start: int
    """Byte of the zip's local header; of the data in a tar, of a compressed one after decompression."""
    packed: int
    """Bytes in the archive."""
    size: int
    """Bytes of the file."""
    crc: int
    """CRC-32 of the file in a zip, else 0."""
    fault: str = ""
    """Why it cannot be read."""

    def fields(self) -> list[str | int]:
        """The arguments that make it again."""
        return [getattr(self, name) for name in self.__slots__]


def is_archive(name: str) -> bool:
    """Whether a file name says that it is an archive."""
    return name.lower().endswith(ENDINGS)


def list_members(archive: Path) -> Iterator[Member]:
    """List the files in an archive in its own order, lazily and in memory that does not grow.

    Raises:
        InputError: the archive is missing, damaged, or would grow to more than 100 times its size.
    """
    with _naming_damage(archive):
        allowed = max(_LIMITS.always, _LIMITS.ratio * archive.stat().st_size)
        total = 0
        listed = _zip_members(archive) if archive.name.lower().endswith(".zip") else _tar_members(archive)
        for member in listed:
            total += max(member.size, 0)
            if total > allowed:
                raise InputError(
                    f"{archive} would grow to more than {_LIMITS.ratio} times its size, as only malicious "
                    "archives do; unpack it by hand if you trust it."
                )
            yield member


class Extractor:
    """Copies members to files; members of one compressed tar must be asked for in its order."""

    def __init__(self) -> None:
        self._archive = ""
        self._stream: tarfile.TarFile | None = None

    def extract(self, member: Member, target: Path) -> None:
        """Write one member to `target`.

        Raises:
            InputError: it is no plain file, damaged, or longer than its entry says.
        """
        if member.fault:
            raise InputError(f"{member.archive}/{member.name} {member.fault}.")
        with _naming_damage(Path(member.archive), member.name), target.open("wb") as sink:
            if member.how == "stream":
                self._copy_from_stream(member, sink)
            elif member.how == "tar":
                with open(member.archive, "rb") as source:
                    source.seek(member.start)
                    _copy(source, sink, member.size)
            else:
                _unzip(member, sink)

    def close(self) -> None:
        """Close the archive that is being read."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def _copy_from_stream(self, member: Member, sink: IO[bytes]) -> None:
        if self._stream is None or self._archive != member.archive:
            self.close()
            self._archive = member.archive
            self._stream = tarfile.open(member.archive, "r|gz")  # noqa: SIM115  (read on by later calls)
        while (info := self._stream.next()) is not None:
            self._stream.members = []  # type: ignore[attr-defined]  # else every entry stays in memory
            if info.offset_data == member.start and info.isreg():
                source = self._stream.extractfile(info)
                if source is not None:
                    _copy(source, sink, member.size)
                    return
        raise InputError(f"{member.archive} has changed while it was read; start again.")


@contextmanager
def _naming_damage(archive: Path, member: str = "") -> Iterator[None]:
    try:
        yield
    except InputError:  # a ValueError too, but it says already what is wrong
        raise
    except FileNotFoundError as error:
        raise InputError(f"{archive} does not exist.") from error
    except _DAMAGE as error:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise  # the disk is full, which is not the archive's fault
        where = f"{archive}/{member}" if member else str(archive)
        raise InputError(f"{where} is damaged ({error or type(error).__name__}); copy it again.") from error


def _copy(source: IO[bytes], sink: IO[bytes], size: int) -> None:
    left = size
    while left:
        chunk = source.read(min(_CHUNK, left))
        if not chunk:
            raise EOFError("it ends too early")
        sink.write(chunk)
        left -= len(chunk)


def _unzip(member: Member, sink: IO[bytes]) -> None:
    written, crc, left = 0, 0, member.packed
    inflate = zlib.decompressobj(-zlib.MAX_WBITS) if member.how == "deflated" else None
    with open(member.archive, "rb") as source:
        source.seek(member.start)
        head = _LOCAL.unpack(source.read(_LOCAL.size))
        if head[0] != _LOCAL_MARK:
            raise EOFError("no file begins where its table says")
        source.seek(head[-2] + head[-1], 1)
        while left and (chunk := source.read(min(_CHUNK, left))):
            left -= len(chunk)
            while chunk:
                data = chunk if inflate is None else inflate.decompress(chunk, _CHUNK)
                chunk = b"" if inflate is None else inflate.unconsumed_tail
                written, crc = written + len(data), zlib.crc32(data, crc)
                if written > member.size:
                    raise EOFError("it holds more bytes than its table says")
                sink.write(data)
        if inflate is not None:
            while data := inflate.decompress(inflate.unconsumed_tail, _CHUNK):
                written, crc = written + len(data), zlib.crc32(data, crc)
                if written > member.size:
                    raise EOFError("it holds more bytes than its table says")
                sink.write(data)
    if (written, crc) != (member.size, member.crc):
        raise EOFError("its checksum is wrong")


def _zip_members(archive: Path) -> Iterator[Member]:
    with archive.open("rb") as file:
        count, place, shift = _find_table(file)
        file.seek(place)
        for _ in range(count):
            entry = _ENTRY.unpack(file.read(_ENTRY.size))
            mark, made, _, flags, method, _, _, crc, packed, size = entry[:10]
            name_length, extra_length, comment_length, _, _, attributes, start = entry[10:]
            if mark != _ENTRY_MARK:
                raise EOFError("its table of contents has a gap")
            raw = file.read(name_length)
            name = raw.decode("utf-8" if flags & 0x800 else "cp437", "replace").replace("\\", "/")
            extra = file.read(extra_length)
            file.seek(comment_length, 1)
            if _FULL in (packed, size, start):
                size, packed, start = _large(extra, size, packed, start)
            if name.endswith("/"):
                continue
            fault = ""
            if flags & 1:
                fault = "asks for a password; unpack it by hand with the publisher's"
            elif made >> 8 == 3 and attributes >> 28 not in (0, 0o10):  # the kind of file on Unix
                fault = "is a link or a device and no plain file; unpack it by hand if you trust it"
            elif method not in _METHODS or size > _LARGEST_MEMBER:
                fault = "is compressed in an unknown way or too large; unpack it by hand"
            how = "" if fault else _METHODS[method]
            yield Member(str(archive), name, how, start + shift, packed, size, crc, fault)


def _find_table(file: IO[bytes]) -> tuple[int, int, int]:
    """Number of entries, first byte of the table, and what to add to every place in it."""
    length = file.seek(0, 2)
    begin = max(0, length - _END.size - 0xFFFF)
    file.seek(begin)
    tail = file.read()
    found = tail.rfind(_END_MARK)
    if found < 0 or len(tail) - found < _END.size:
        raise EOFError("it has no table of contents")
    end = begin + found
    *_, count, size, offset, _ = _END.unpack_from(tail, found)
    if end >= _LOCATOR64.size and (count == 0xFFFF or _FULL in (size, offset)):
        file.seek(end - _LOCATOR64.size)
        mark, _, _, _ = _LOCATOR64.unpack(file.read(_LOCATOR64.size))
        if mark == _LOCATOR64_MARK:
            end -= _LOCATOR64.size + _END64.size
            file.seek(end)
            head = _END64.unpack(file.read(_END64.size))
            if head[0] != _END64_MARK:
                raise EOFError("its table of contents cannot be found")
            count, size, offset = head[7:]
    place = end - size
    if place < offset:
        raise EOFError("its table of contents cannot be found")
    return count, place, place - offset


def _large(extra: bytes, size: int, packed: int, start: int) -> tuple[int, int, int]:
    """Take the numbers that do not fit into 32 bits from the zip64 field."""
    position = 0
    while position + 4 <= len(extra):
        kind, length = struct.unpack_from("<HH", extra, position)
        if kind == 1:
            numbers = iter(struct.unpack_from(f"<{length // 8}Q", extra, position + 4))
            fields = [next(numbers, n) if n == _FULL else n for n in (size, packed, start)]
            return fields[0], fields[1], fields[2]
        position += 4 + length
    return size, packed, start


def _tar_members(archive: Path) -> Iterator[Member]:
    packed = not archive.name.lower().endswith(".tar")
    with tarfile.open(archive, "r|gz" if packed else "r:") as bundle:
        while (info := bundle.next()) is not None:
            bundle.members = []  # type: ignore[attr-defined]  # else every entry stays in memory
            if info.isdir():
                continue
            fault, size = "", info.size
            if not info.isreg() or info.issparse():
                fault = "is a link or a device and no plain file; unpack it by hand if you trust it"
                size = 0
            elif size > _LARGEST_MEMBER:
                fault = "is too large; unpack it by hand"
            how = "" if fault else "stream" if packed else "tar"
            yield Member(str(archive), info.name, how, info.offset_data, size, size, 0, fault)
