"""Documents of server records: what was compared, a row for each scenario, the requests of a fail, and the verdict."""

from collections.abc import Iterator

from rnneval.records import Gate, Server
from rnneval.records.gate import Comparison
from rnneval.records.server import SentRequest, ServerScenario
from rnneval.render.document import KINDS, Block, Notice, TableCell, VerdictBlock, facts, table
from rnneval.render.phrasing import counted, figure

_SHOWN = 8  # requests of a history, and tokens of a prompt


def server_document(record: Server) -> Iterator[Block]:
    """Write the server, the limit, the scenarios, the requests that show a fail, and the verdict."""
    yield facts(_rows(record))
    head = ("scenario", "requests", "cached tokens", "largest difference (nats)", "verdict")
    rows = map(_row, record.scenarios)
    yield table("Answers that may use caches against cold ones", head, rows, right=(1, 2, 3))
    for each in record.scenarios:
        if each.verdict == "fail" and (each.explanation or each.history):
            yield Notice(kind="fail", title=each.name, text="; ".join(_of_fail(each)))
    yield VerdictBlock(kind=KINDS[record.verdict], word=record.verdict, about="server", reason=record.reason)


def _rows(record: Server) -> Iterator[tuple[str, str]]:
    listed = f"{record.listed:,} log-probabilities in an answer"
    yield "server", f"{record.engine} · {counted(record.slots, 'slot')} · {listed}"
    yield "cold", record.cold or "another slot of the same server, without cache"
    if record.limit is not None and record.smallest_fault is not None and record.largest_fault is not None:
        faults = f"{record.smallest_fault:.2g} to {record.largest_fault:.2g} nats"
        yield "a real fault", f"would differ by {faults} here (tokens lost, doubled or missing)"
        yield "limit", f"{record.limit:.2g} nats, a twentieth of the smallest; equal cold requests: {record.noise:.1e}"
    if record.kl is not None:
        kl = record.kl
        yield "reference", f"KL to the server: mean {kl.mean:.2g}, largest {kl.largest:.2g} nats at token {kl.at:,}"
    yield "sent", f"{counted(record.requests, 'request')} in {record.seconds:.1f} s"


def _row(each: ServerScenario) -> tuple[str | TableCell, ...]:
    untested = f"not tested: {each.explanation or 'no token came from the cache'}"
    word = untested if each.verdict == "not tested" else each.verdict
    verdict = TableCell(text=word, kind=KINDS[each.verdict])
    return each.name, f"{each.requests:,}", figure(each.cached, ","), figure(each.largest_difference, ".2g"), verdict


def _of_fail(each: ServerScenario) -> Iterator[str]:
    """Yield the explanation, and the requests one by one."""
    if each.explanation:
        yield each.explanation
    if each.repeated is False:
        yield "the last requests did not make it wrong again"
    history = each.history or ()
    if len(history) > _SHOWN:
        yield f"the record has the {len(history)} last requests"
        return
    for n, moment in enumerate(history, 1):
        yield f"request {n}: {' at the same time as '.join(map(_in_words, moment))}"


def _in_words(sent: SentRequest) -> str:
    tokens = " ".join(map(str, sent.ids[:_SHOWN])) + " …" * (len(sent.ids) > _SHOWN)
    cold = "" if sent.cache else ", without cache"
    if sent.action:
        return f"{sent.action} slot {sent.slot}"
    more = f", {sent.answers} answers" if sent.answers else ", hung up" if sent.hang_up else ""
    return f"{counted(len(sent.ids), 'token')} [{tokens}] to slot {sent.slot}{cold}{more}"


def as_gate(record: Server) -> Gate:
    """Return the verdict as that of a gate, for JUnit and for annotations; what was not tested is no comparison."""
    tested = [each for each in record.scenarios if each.verdict != "not tested"]
    comparisons = tuple(
        Comparison(
            metric=each.name, baseline="cold requests", candidate=record.engine, unit="nats",
            difference=each.largest_difference, allowed=record.limit, reason=each.explanation or record.reason,
            verdict="inconclusive" if each.verdict == "not tested" else each.verdict,
            method="largest difference of a log-probability", about="these checkpoints",
        )
        for each in tested or record.scenarios[:1]
    )  # fmt: skip
    verdict = "inconclusive" if record.verdict == "not tested" else record.verdict
    return Gate(verdict=verdict, reason=record.reason, comparisons=comparisons, warnings=())
