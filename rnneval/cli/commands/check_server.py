"""`rnneval check-server URL`."""

from typing import Annotated

from rnneval.cli.checkpoint import opened
from rnneval.cli.command import from_function
from rnneval.cli.output import EXIT_CODES, VerdictOutput, chatter_held, command_line, say, verdict_texts
from rnneval.option import Options, option
from rnneval.options import OpenOptions


class ServerOptions(Options, heading="Server"):
    """Options of `rnneval check-server`."""

    model: str | None = option(None, metavar="NAME", unset="the first that it lists")
    """Name of the model, for a server that has several."""
    cold: str | None = option(None, metavar="URL", unset="another slot of the same server")
    """Address of a second server of the same model, for the requests without cache."""
    reference: str | None = option(None, metavar="MODEL", path=True)
    """Checkpoint that the server should be: its log-probabilities are compared, too."""
    text: str | None = option(None, metavar="FILE", path=True, unset="words or letters")
    """Text from which the prompts are taken."""
    vocabulary_size: int | None = option(None, flag="--vocab-size", metavar="N", least=8, unset="words or letters")
    """Prompts of ids below N, also for a server that takes ids and does not tell how many there are."""
    slots: int = option(4, metavar="N", least=1)
    """Most slots that are used."""
    seconds: float = option(60.0, metavar="S")
    """Most time that it takes."""
    requests: int = option(4000, metavar="N", least=1)
    """Most requests that are sent."""
    remote: bool = option(False)
    """Allow addresses of other machines."""
    seed: int = option(0)
    """Random seed of the prompts: a server that knows the prompts of one seed is better asked with another."""


class ServerOutput(VerdictOutput):
    """Output of `rnneval check-server`."""

    reproduce: str | None = option(None, metavar="FILE.py", endings=(".py",), heading="Output")
    """Write the requests of a fail as a script of its own, without rnneval."""


@from_function("http://127.0.0.1:8080 --reproduce fault.py")
def command(
    *,
    url: Annotated[str, "URL"],
    options: ServerOptions,
    ref: Annotated[OpenOptions, "reference"],
    output: ServerOutput,
) -> int:
    """Test whether what a server answers depends on what it was asked before.

    URL is the server of llama.cpp, or one with /v1/completions of OpenAI. The requests fill its caches; a key
    is taken from RNNEVAL_SERVER_KEY. Exit code: 0 pass, 1 fail, 3 no verdict or nothing tested.
    """
    from rnneval.records import write_text
    from rnneval.render.server_document import as_gate, server_document
    from rnneval.servers import check_server

    lm = None
    if options.reference is not None:
        with chatter_held():
            lm = opened(options.reference, ref)
    say(f"rnneval: up to {options.requests:,} requests fill the caches of the server")
    record = check_server(url, **{**vars(options), "reference": lm}, command=command_line())
    if output.reproduce is not None and record.script is not None:
        write_text(record.script, output.reproduce)
        say(f"rnneval: {output.reproduce} shows a fault without rnneval: start the server anew, run it with python")
    elif output.reproduce is not None:
        say(f"rnneval: {output.reproduce} was not written: no wrong answer came again")
    output.deliver(record, server_document, **verdict_texts(as_gate(record)))
    return EXIT_CODES[record.verdict]
