"""Pictures that callers have uploaded once, to be filled many times; in memory only, and not for long."""

import hmac
import secrets
import time
from collections import Counter
from dataclasses import dataclass, field
from hashlib import sha256

from infilling.serving.problems import Problem


@dataclass
class _Held:
    """A picture in the store: its file, the address that it counts against, and when it was last used."""

    data: bytes
    client: str
    used: float = field(default_factory=time.monotonic)


class PictureStore:
    """Files by an id that follows from their content and from a secret of this process and token.

    So the same file has the same id, nobody can guess an id or find out who else has uploaded a file, and an
    id is worth nothing to another server. When there is no room, the address that holds most loses what it
    has not used for longest.

    Args:
        max_bytes: of all files together. One address may hold half of it.
        seconds: time after its last use at which a file is forgotten.
        token: the server's, which every id depends on.
    """

    def __init__(self, max_bytes: int, seconds: float, token: str | None = None) -> None:
        self.max_bytes = max_bytes
        self.seconds = seconds
        self._key = sha256((token or "").encode()).digest() + secrets.token_bytes(32)
        self._held: dict[str, _Held] = {}  # least recently used first

    @property
    def size(self) -> int:
        """Bytes of all files together."""
        return sum(len(held.data) for held in self._held.values())

    def put(self, data: bytes, client: str) -> str:
        """Keep a file and return its id.

        Args:
            data: the file.
            client: the address that it counts against.

        Raises:
            Problem: `too-large`, it is more than one address may hold.
        """
        if len(data) > self.max_bytes // 2:
            text = f"a picture that is kept may have {self.max_bytes // 2:,} bytes here"
            raise Problem("too-large", text, field="image")
        self.expire()
        id = hmac.new(self._key, data, sha256).hexdigest()
        self._held.pop(id, None)
        self._make_room(len(data), client)
        self._held[id] = _Held(data, client)
        return id

    def get(self, id: str, field: str = "image_id") -> bytes:
        """Return a file, which counts as used.

        Raises:
            Problem: `unknown-picture`, it never was there or is there no more.
        """
        self.expire()
        held = self._held.pop(id, None)
        if held is None:
            text = "no picture of this id is kept here (any more): upload it again"
            raise Problem("unknown-picture", text, field=field)
        held.used = time.monotonic()
        self._held[id] = held
        return held.data

    def forget(self, id: str) -> None:
        """Drop a file, if it is there."""
        self._held.pop(id, None)

    def expire(self) -> None:
        """Drop what nobody has used for long."""
        end = time.monotonic() - self.seconds
        while self._held and next(iter(self._held.values())).used < end:
            self._held.pop(next(iter(self._held)))

    def _make_room(self, wanted: int, client: str) -> None:
        while self._held:
            sizes: Counter[str] = Counter()
            for held in self._held.values():
                sizes[held.client] += len(held.data)
            if sizes[client] + wanted > self.max_bytes // 2:
                self._drop_oldest(client)
            elif self.size + wanted > self.max_bytes:
                self._drop_oldest(sizes.most_common(1)[0][0])
            else:
                return

    def _drop_oldest(self, client: str) -> None:
        self.forget(next(id for id, held in self._held.items() if held.client == client))
