"""A bound on the bytes of bodies and answers that all requests hold together."""

from collections import Counter

from infilling.serving.problems import Problem

RETRY_SECONDS = 5.0


class MemoryBudget:
    """Bytes that are held, `limit` at most, and by which address. One may hold half of them."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.held = 0
        self._clients: Counter[str] = Counter()

    def require(self, client: str, count: int) -> None:
        """Refuse what there is no room for.

        Args:
            client: the address that would hold the bytes.
            count: bytes.

        Raises:
            Problem: `too-many`, this address holds too much; `busy`, all together do.
        """
        if self._clients[client] + count > self.limit // 2:
            text = "requests from your address hold too much memory: wait for one of them to end"
            raise Problem("too-many", text, retry_after=RETRY_SECONDS)
        if self.held + count > self.limit:
            raise Problem("busy", "requests hold too much memory: try later", retry_after=RETRY_SECONDS)

    def take(self, client: str, count: int) -> None:
        """Count bytes as held."""
        self.held += count
        self._clients[client] += count

    def give(self, client: str, count: int) -> None:
        """Count bytes as free again."""
        self.held -= count
        self._clients[client] -= count
        if not self._clients[client]:
            del self._clients[client]
