"""Files that clients send: read within limits, and laid into a private folder while they are used."""

import os
import re
import shutil
import tempfile
from collections.abc import AsyncGenerator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from fastapi import Request
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from delineate.data.locks import claim
from delineate.web.errors import ServiceError
from delineate.web.settings import Settings

_PREFIX, _LOCK = "delineate-serve-", ".claimed"
_FORM = "multipart/form-data"
_MOST_FIELDS = 8


@dataclass(frozen=True)
class Upload:
    """A file of a request."""

    filename: str
    """As the client gave it, made harmless; only for showing."""
    content: bytes


class Folder:
    """The one place where uploads lie, and only while their request lasts; others may not look into it.

    Made when it is first needed. What a service that was killed left behind is removed by the next one.
    """

    def __init__(self) -> None:
        self._held = ExitStack()

    @cached_property
    def path(self) -> Path:
        """The folder, readable by its owner only."""
        path = Path(tempfile.mkdtemp(prefix=_PREFIX))
        self._held.callback(shutil.rmtree, path, ignore_errors=True)
        self._held.enter_context(claim(path / _LOCK))
        return path

    def make(self) -> Path:
        """Make a folder for one request."""
        return Path(tempfile.mkdtemp(dir=self.path))

    def conceal(self, message: str) -> str:
        """A message about an upload, without the place where it lay."""
        place = re.escape(str(self.path)) + r"[\w./\-]*"
        return re.sub(place, "The image", message)[:400]

    def sweep(self) -> None:
        """Remove the folders of services that were killed: those that nobody claims any more."""
        for old in self.path.parent.glob(f"{_PREFIX}*"):
            with suppress(OSError):  # another service that starts may be quicker
                own = not old.is_symlink() and old.stat().st_uid == os.getuid()
                if old == self.path or not own or not (old / _LOCK).is_file():
                    continue
                with claim(old / _LOCK) as is_left:
                    if is_left:
                        shutil.rmtree(old, ignore_errors=True)

    def close(self) -> None:
        """Remove the folder with all that is in it."""
        self._held.close()


async def read_form(request: Request, settings: Settings, *, files: int) -> list[tuple[str, Upload]]:
    """Read the files of a multipart body into memory.

    Args:
        request: the request, whose body is bounded already.
        settings: the limit of one file.
        files: most files.

    Returns:
        (field name, file) in the order sent; parts without a file name are left out.

    Raises:
        ServiceError: the body is no multipart form, is damaged, has too many parts or too large a file.
    """
    if request.headers.get("content-type", "").split(";")[0].strip().lower() != _FORM:
        raise ServiceError(415, "not_multipart", f"Send the image as {_FORM}, in a part named file.")
    parser = _InMemory(request.headers, _chunks(request), max_files=files, max_fields=_MOST_FIELDS)
    try:
        form: FormData = await parser.parse()
    except MultiPartException as error:
        reason = error.message.rstrip(".")
        raise ServiceError(
            400, "bad_multipart", f"The multipart body cannot be read ({reason}); send it again."
        ) from error
    found = []
    try:
        for name, part in form.multi_items():
            if not isinstance(part, UploadFile):
                continue
            content = part.file.read()  # from memory
            if len(content) > settings.max_upload_bytes:
                raise ServiceError(
                    413,
                    "too_large",
                    f"A file has {len(content)} bytes, but at most {settings.max_upload_bytes} are taken.",
                )
            found.append((name, Upload(harmless_name(part.filename or ""), content)))
    finally:
        await form.close()
    return found


def only_file(form: list[tuple[str, Upload]], name: str) -> Upload:
    """Take the one file of a field.

    Raises:
        ServiceError: the form has none, or several.
    """
    found = [upload for field, upload in form if field == name]
    if len(found) != 1:
        raise ServiceError(
            422, "missing_file", f"Send one file, in a part named {name} with a file name; got {len(found)}."
        )
    return found[0]


def harmless_name(name: str) -> str:
    """The last part of a file name: letters, digits, dots, dashes and spaces, at most 100 of them."""
    last = re.split(r"[\\/]", name)[-1]
    kept = re.sub(r"[^\w. \-]", "_", last).strip(". ")[:100]
    return kept or "image"


class _InMemory(MultiPartParser):
    """Keeps files in memory; the bound on the body is the bound on them."""

    spool_max_size = 2**62


async def _chunks(request: Request) -> AsyncGenerator[bytes, None]:
    async for chunk in request.stream():
        yield chunk
