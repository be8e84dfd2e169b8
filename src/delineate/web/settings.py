"""What the service allows: sizes, times, who may ask."""

import math
from dataclasses import dataclass

from delineate.checks import InputError

MEGABYTE = 2**20
RESEARCH_ONLY = "For research only, not for diagnosis."


@dataclass(frozen=True)
class Settings:
    """Limits and addresses of one service.

    Raises:
        InputError: a limit is not positive.
    """

    host: str = "127.0.0.1"
    """Address to listen on."""
    port: int = 8000
    """TCP port; 0 takes a free one."""
    allowed_hosts: tuple[str, ...] = ()
    """Further names that a browser may call the service by; IP addresses and localhost always work."""
    token: str | None = None
    """When given, every endpoint but the page, /health and /ready wants it as a bearer token."""
    max_upload_bytes: int = 32 * MEGABYTE
    """Largest file; a request with several files or with base64 may have four times as many bytes."""
    max_pixels: int = 50_000_000
    """Largest picture, told from its header; a file of several pictures may hold four times as many."""
    max_files: int = 16
    """Most files of one batch request."""
    timeout: float = 60.0
    """Seconds for a whole request, and for its upload alone."""
    header_timeout: float = 15.0
    """Seconds that a connection may take to send the head of a request."""
    max_batch: int = 8
    """Most images that the network sees at once."""
    max_wait: float = 0.010
    """Seconds that an image waits for others to share its batch; only while others are on their way."""
    queue: int = 64
    """Images in work at once; what comes beyond is told to come back."""
    connections: int = 256
    """Open connections at once."""
    decoders: int = 2
    """Threads that decode images and encode answers."""
    store: str | None = None
    """Address of the store of corrections: a path of an SQLite file, or a database URL."""
    page: bool = True
    """Whether the web page is served."""

    def __post_init__(self) -> None:
        for name in ("max_upload_bytes", "max_pixels", "max_files", "max_batch", "queue", "connections"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} must be at least 1, got {getattr(self, name)}.")
        for name in ("timeout", "header_timeout"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) > 0):
                raise InputError(f"{name} must be a number of seconds above 0, got {getattr(self, name)}.")
        if not 0 <= self.max_wait <= 1:
            raise InputError(f"max_wait must lie between 0 and 1 second, got {self.max_wait}.")
        if not 0 <= self.port <= 65535:
            raise InputError(f"port must lie between 0 and 65535, got {self.port}.")
        if self.token is not None and len(self.token) < 16:
            raise InputError(
                "The token must have at least 16 characters; make one with `openssl rand -hex 32`."
            )

    @property
    def is_open(self) -> bool:
        """Whether other machines can reach the service."""
        return self.host not in ("localhost", "::1") and not self.host.startswith("127.")

    @property
    def max_body_bytes(self) -> int:
        """Largest body of a request that may carry several files."""
        return 4 * self.max_upload_bytes
