"""Records of server checks: does what a server answers depend on what is in its caches?"""

from typing import Literal

from rnneval.records._base import Count, Stored, Value, shortened
from rnneval.records.parity import KlSummary


class SentRequest(Value, frozen=True, kw_only=True):
    """One request, as it was sent."""

    slot: Count  # Slot that it is for; a server without slots chooses the place itself.
    ids: tuple[Count, ...]  # Token ids; of a server that takes text, numbers of the words that the script shows.
    cache: bool  # Whether the server may take the beginning from its cache.
    tokens: Count  # Tokens to generate.
    hang_up: bool  # Whether the connection was closed in the middle of the answer.
    answers: Count | None = None  # Answers to the one prompt, if they are several.
    action: Literal["save", "restore"] | None = None  # On the slot, by a file; such a request has no prompt.


class ServerScenario(Value, frozen=True, kw_only=True):
    """One kind of history, and the worst of its answers."""

    name: str
    verdict: Literal["pass", "fail", "not tested", "inconclusive"]
    requests: Count  # Requests whose answers were compared.
    cached: Count | None = None  # Tokens that the server took from its cache; absent if it does not say.
    largest_difference: float | None = None  # Of log-probabilities, in nats; absent if no answer was compared.
    history: tuple[tuple[SentRequest, ...], ...] | None = (
        None  # Requests of a fail; those of one tuple at the same time.
    )
    repeated: bool | None = None  # Whether this history shows the fail again, after two other histories.
    explanation: str | None = None  # Of a fail, or why it was not tested.


class Server(Stored, frozen=True, kw_only=True, tag_field="schema", tag="rnneval.server/1"):
    """Answers that may use the caches of a server against the same requests cold."""

    rnneval: str
    created: str
    command: tuple[str, ...]
    verdict: Literal["pass", "fail", "inconclusive", "not tested"]
    reason: str
    url: str
    cold: str | None = None  # Address of the server of the cold requests; absent if it is another slot of the same.
    engine: str  # Name and version, as far as the server says them.
    slots: Count  # Slots that were used, that of the cold requests included.
    listed: Count  # Log-probabilities in an answer.
    noise: float | None = None  # Largest difference of equal cold requests, in nats; absent if it was not measured.
    smallest_fault: float | None = None  # Differences that lost, doubled and missing tokens would make here.
    largest_fault: float | None = None
    limit: float | None = None  # A twentieth of the smallest.
    kl: KlSummary | None = None  # KL(reference ‖ server), if the server lists all log-probabilities.
    requests: Count  # All requests to all servers.
    seconds: float
    seed: int
    scenarios: tuple[ServerScenario, ...]
    script: str | None = None  # Code without rnneval that shows the first fail.

    def __bool__(self) -> bool:
        """Return whether the verdict is pass, so that `assert rnneval.check_server(…)` holds nothing else."""
        return self.verdict == "pass"

    def _in_one_line(self) -> str:
        return f"{self.verdict}: {shortened(self.reason)!r}"
