"""Download one file over HTTPS so that a cut costs only what was not yet there.

Bytes go to a `.part` file; a side file says which address and which version (ETag or Last-Modified) they
belong to. The next attempt asks for the rest with `Range` and `If-Range` (RFC 9110, sections 13.1.5 and 14),
so that a server whose file has changed meanwhile sends the whole new one.
"""

import ipaddress
import json
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

from delineate.checks import InputError
from delineate.data.fetch.unpack import Progress, megabytes
from delineate.files import write_json
from delineate.version import __version__

if TYPE_CHECKING:
    import requests

_CHUNK = 2**18
_BUSY = (408, 425, 429, 500, 502, 503, 504)
"""Answers that may be better in a while."""
_MEANING = {
    401: "it asks for an account",
    403: "it refuses access",
    404: "the file is not there",
    410: "the file was removed",
}
_STARTS = {".zip": b"PK", ".gz": b"\x1f\x8b", ".tgz": b"\x1f\x8b"}
"""First bytes of files of these endings."""


@dataclass(frozen=True)
class Patience:
    """How long to wait for a server."""

    timeout: tuple[float, float] = (20.0, 60.0)
    """Seconds to connect, and seconds without a byte."""
    attempts: int = 5
    """Attempts in a row that bring no byte."""
    pause: float = 2.0
    """Seconds before the second attempt; doubled before each further one, at most 60."""
    spare: int = 64 * 2**20
    """Bytes of the disk that stay free."""


@dataclass(frozen=True)
class Job:
    """What to download."""

    url: str
    """https; http only from this computer itself."""
    name: str
    """What the file is called in messages; its ending says what the file must begin with."""
    part: Path
    """File to fill."""
    by_hand: str
    """What a person can do instead, the end of a sentence."""
    size: int | None = None
    """Bytes, when known beforehand."""
    verified: bool = False
    """A checksum will be compared, so that a resumed file needs no version to be believed."""


class _TryAgainError(Exception):
    """The attempt failed in a way that another attempt may not."""

    def __init__(self, reason: str, after: float = 0.0) -> None:
        super().__init__(reason)
        self.after = after


def download(
    job: Job,
    *,
    patience: Patience | None = None,
    progress: Progress | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> None:
    """Fill `job.part`, going on with what an earlier attempt left there; `forget` it when it was moved away.

    Args:
        job: what to download.
        patience: timeouts and repeats; None for the usual ones.
        progress: called with (bytes there, bytes in all, 0 when unknown).
        say: told about repeats.

    Raises:
        InputError: wrong address, no connection, a refusal, something else than the file, another size than
            `job.size`, or a full disk. What was received is kept only where going on with it makes sense.
    """
    _check_address(job.url, job.url)
    patience = patience or Patience()
    failed = 0
    with _session() as session:
        while True:
            before = _there(job.part)
            try:
                _attempt(session, job, patience, progress)
            except _TryAgainError as error:
                failed = 1 if _there(job.part) > before else failed + 1
                if failed >= patience.attempts:
                    raise InputError(
                        f"Cannot download {job.name} from {job.url}: {error}, {failed} times in a row; run "
                        "this again later, it goes on where it stopped."
                    ) from error
                wait = max(error.after, min(60.0, patience.pause * 2 ** (failed - 1)))
                say(f"{job.name}: {error}; trying again in {wait:.0f} s")
                time.sleep(wait)
            else:
                return


def forget(part: Path) -> None:
    """Remove a `.part` file and what is known about it."""
    part.unlink(missing_ok=True)
    _side(part).unlink(missing_ok=True)


def _attempt(session: "requests.Session", job: Job, patience: Patience, progress: Progress | None) -> None:
    """One request, errors of the network translated."""
    import requests
    import urllib3

    try:
        _request(session, job, patience, progress)
    except requests.exceptions.SSLError as error:
        raise InputError(
            f"Cannot trust the certificate of {_host(job.url)}; behind a proxy of your institution, name its "
            "certificates in the environment variable REQUESTS_CA_BUNDLE."
        ) from error
    except (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError) as error:
        raise _TryAgainError(f"no connection to {_host(job.url)}") from error
    except urllib3.exceptions.HTTPError as error:  # while the body is read
        raise _TryAgainError("the connection was cut") from error
    except requests.RequestException as error:
        raise InputError(
            f"Cannot download {job.name} from {job.url} ({type(error).__name__}); {job.by_hand}."
        ) from error
    except OSError as error:
        raise InputError(
            f"Cannot write {job.part}: {error.strerror or error}; free space and run this again, it goes on "
            "where it stopped."
        ) from error


def _request(session: "requests.Session", job: Job, patience: Patience, progress: Progress | None) -> None:
    known = _read_side(job)
    have = _there(job.part) if known is not None else 0
    if known is not None and have and have == known["size"]:
        return  # whole; the process was stopped between the last byte and the end
    headers = {"Accept-Encoding": "identity"}  # bytes as they lie on the server's disk, which can be counted
    if have and known is not None:
        headers["Range"] = f"bytes={have}-"
        if known["version"]:
            headers["If-Range"] = known["version"]
    with session.get(job.url, headers=headers, stream=True, timeout=patience.timeout) as answer:
        _check_status(answer, job)
        _check_kind(answer, job)
        start, total = _extent(answer, job, have)
        version = _version(answer)
        if start and known is not None and known["version"] not in (None, version):
            forget(job.part)
            raise _TryAgainError("the file on the server has changed")
        if total is not None and job.size is not None and total != job.size:
            forget(job.part)
            raise InputError(
                f"{job.url} offers {total} bytes, but {job.name} is published with {job.size}; the publisher "
                f"changed the file or answers with something else: {job.by_hand}."
            )
        expected = total if total is not None else job.size
        _check_room(job, (expected or 0) - start, patience)
        chunks = answer.raw.stream(_CHUNK, decode_content=False)
        first = next(chunks, b"")
        if start == 0:
            _check_start(first, job)
        done = start
        with job.part.open("ab" if start else "wb") as file:  # emptied before the side file names a version
            write_json(_side(job.part), {"url": job.url, "version": version, "size": expected})
            for chunk in chain((first,), chunks):
                file.write(chunk)
                done += len(chunk)
                if expected is not None and done > expected:
                    break
                if progress is not None:
                    progress(done, expected or 0)
    if expected is not None and done < expected:
        raise _TryAgainError(f"the connection was cut after {megabytes(done)} of {megabytes(expected)}")
    if done == 0 or (expected is not None and done > expected):
        forget(job.part)
        sent = "nothing" if done == 0 else "more bytes than announced"
        raise InputError(f"{job.url} sent {sent} instead of {job.name}; {job.by_hand}.")


def _extent(answer: "requests.Response", job: Job, have: int) -> tuple[int, int | None]:
    """Position of the first byte that comes, and bytes of the whole file or None."""
    if answer.status_code != 206:
        length = answer.headers.get("Content-Length", "")
        return 0, int(length) if length.isdigit() else None
    unit, _, rest = answer.headers.get("Content-Range", "").partition(" ")
    span, _, total = rest.partition("/")
    if unit != "bytes" or span.partition("-")[0] != str(have):
        forget(job.part)
        raise _TryAgainError("the server sent another part than the one asked for")
    return have, int(total) if total.isdigit() else None


def _check_status(answer: "requests.Response", job: Job) -> None:
    code = answer.status_code
    if code in (200, 206):
        return
    if code == 416:  # what is there is not the beginning of what the server has now
        forget(job.part)
        raise _TryAgainError("the file on the server has changed")
    if code in _BUSY:
        after = answer.headers.get("Retry-After", "")
        raise _TryAgainError(
            f"{_host(answer.url)} answers {code} ({answer.reason})",
            min(60.0, float(after)) if after.isdigit() else 0.0,
        )
    raise InputError(
        f"Cannot download {job.name}: {job.url} answers {code} ({_MEANING.get(code, answer.reason)}); "
        f"{job.by_hand}."
    )


def _check_kind(answer: "requests.Response", job: Job) -> None:
    kind = answer.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if kind in ("text/html", "application/xhtml+xml") and not job.name.endswith((".html", ".htm")):
        raise _web_page(job)
    packing = answer.headers.get("Content-Encoding", "identity").lower()
    if packing not in ("", "identity") and not job.name.endswith((".gz", ".tgz")):
        raise InputError(
            f"{job.url} sends {job.name} compressed ({packing}) although asked not to; {job.by_hand}."
        )


def _check_start(chunk: bytes, job: Job) -> None:
    """Recognise a page or a message that a server sends under the name of the file."""
    text = chunk[:64].lstrip().lower()
    start = _STARTS.get(Path(job.name).suffix.lower(), b"")
    is_page = text.startswith((b"<!doctype html", b"<html"))
    if is_page and not job.name.endswith((".html", ".htm")):
        forget(job.part)
        raise _web_page(job)
    if not chunk.startswith(start[: len(chunk)]):
        forget(job.part)
        raise InputError(
            f"{job.url} sent something that is no {Path(job.name).suffix[1:]} file; {job.by_hand}."
        )


def _web_page(job: Job) -> InputError:
    return InputError(
        f"{job.url} answers with a web page instead of {job.name}, perhaps because it asks for an account or "
        f"a confirmation; {job.by_hand}."
    )


def _check_room(job: Job, missing: int, patience: Patience) -> None:
    free = shutil.disk_usage(job.part.parent).free
    if missing + patience.spare > free:
        raise InputError(
            f"{job.part.parent} has {megabytes(free)} free, but {job.name} needs {megabytes(missing)} more; "
            "free space or choose another folder."
        )


def _session() -> "requests.Session":
    import requests

    def check_redirect(answer: requests.Response, *_: Any, **__: Any) -> None:
        if answer.is_redirect:
            _check_address(urljoin(answer.url, answer.headers["Location"]), answer.url)

    session = requests.Session()
    session.max_redirects = 10
    session.headers["User-Agent"] = f"delineate/{__version__}"
    session.hooks["response"].append(check_redirect)
    return session


def _check_address(url: str, origin: str) -> None:
    """Allow https, and http from this computer to itself (for tests and local mirrors)."""
    scheme = urlsplit(url).scheme
    local = _is_loopback(url) and _is_loopback(origin)
    if scheme != "https" and not (scheme == "http" and local):
        raise InputError(f"{origin} leads to {url}, which is not https; nothing was downloaded from there.")


def _is_loopback(url: str) -> bool:
    host = _host(url)
    with suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"


def _host(url: str) -> str:
    return urlsplit(url).hostname or url


def _version(answer: "requests.Response") -> str | None:
    """A validator that If-Range accepts: a strong ETag, else the date of the last change."""
    etag = answer.headers.get("ETag", "")
    return etag if etag.startswith('"') else answer.headers.get("Last-Modified")


def _there(part: Path) -> int:
    return part.stat().st_size if part.is_file() else 0


def _side(part: Path) -> Path:
    return part.with_name(part.name + ".json")


def _read_side(job: Job) -> dict[str, Any] | None:
    """What is known about the bytes that are there, or None when they cannot be gone on with."""
    try:
        known = json.loads(_side(job.part).read_text(encoding="utf-8"))
        fits = known["url"] == job.url and (known["version"] or job.verified)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return {"version": known["version"], "size": known.get("size")} if fits else None
