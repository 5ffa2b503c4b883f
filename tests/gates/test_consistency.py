import json

import msgspec
import pytest

from rnneval import compare, gate
from rnneval.errors import RecordError
from rnneval.records import Run, encode
from tests.gates.synthetic import ar_losses, make_run

RUN = make_run(ar_losses(128))


def edited(*changes):
    plain = json.loads(encode(RUN))
    for path, value in changes:
        *parents, last = path
        place = plain
        for key in parents:
            place = place[key]
        place[last] = value
    return msgspec.convert(plain, Run)


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (("total_nats",), 1.0, "blocks.sums.nats and total_nats disagree"),
        (("scores", "perplexity", "value"), 2.0, "scores.perplexity and total_nats disagree"),
        (("scores", "cross_entropy", "value"), 0.5, "scores.cross_entropy and total_nats disagree"),
        (("tokens", "scored"), 1, "blocks.tokens and tokens.scored disagree"),
        (("text", "scored_bytes"), 7, "blocks.scored_bytes and text.scored_bytes disagree"),
        (("blocks", "sums", "nats"), (1.0,), "blocks.sums.nats has 1 entries, blocks.bytes has 128"),
        (("blocks", "sums"), {}, "blocks.sums.nats and total_nats disagree"),
        (("blocks", "bytes", 3), 0, "blocks.bytes does not rise"),
        (("tokens", "unscored"), 9, "tokens.scored + tokens.unscored and tokens.total disagree"),
    ],
)
def test_a_record_whose_sums_disagree_is_refused(path, value, said):
    with pytest.raises(RecordError, match="does not add up") as caught:
        gate(edited((path, value)), baseline=RUN)
    assert said in str(caught.value)
    with pytest.raises(RecordError):
        gate(RUN, baseline=edited((path, value)))
    with pytest.raises(RecordError):
        compare([RUN, edited((path, value))])
