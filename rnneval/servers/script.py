"""A fail as a Python script that needs neither rnneval nor any other package."""

from rnneval.records.server import SentRequest
from rnneval.servers.engine import KEY, Engine
from rnneval.servers.histories import History

_SCRIPT = '''\
"""A server answers the last of these requests otherwise than cold, or ends.

Start the server anew, and run: python THIS_FILE
"""

import json, os, urllib.request
from concurrent.futures import ThreadPoolExecutor

# Requests in order; those of one list at the same time. Of a stream, the connection is closed after its first byte.
HISTORY = [
{history}
]
COLD = {cold}


def ask(request):
    url, body = request
    headers = {{"Content-Type": "application/json"}}
    if key := os.environ.get("{key}"):
        headers["Authorization"] = "Bearer " + key
    sent = urllib.request.Request(url, json.dumps(body).encode(), headers)
    with urllib.request.urlopen(sent, timeout=600) as response:
        if body.get("stream") or "filename" in body:
            return response.read1(1) and []
        answer = json.load(response)
    return {reads}


for requests in HISTORY:
    with ThreadPoolExecutor(len(requests)) as pool:
        answers = list(pool.map(ask, requests))
warm = answers[{at}][{place}]
cold = ask(COLD)[0]  # at last: a server may keep its state for other slots
both = warm.keys() & cold.keys()
print("largest difference of a log-probability:", max(abs(warm[each] - cold[each]) for each in both), "nats")
print("most likely after the history:", max(warm, key=warm.get), "- cold:", max(cold, key=cold.get))
'''


def script_of(engine: Engine, history: History, cold_engine: Engine, cold: SentRequest, place: tuple[int, int]) -> str:
    """Return the script that sends a history and compares its last answer with that of a cold request."""

    def sent(server: Engine, request: SentRequest) -> str:
        path, body = server.call(request)
        return repr((server.url + path, body))

    lines = [f"    [{', '.join(sent(engine, each) for each in moment)}]," for moment in history]
    return _SCRIPT.format(
        history="\n".join(lines), cold=sent(cold_engine, cold), key=KEY, reads=engine.reads, at=place[0], place=place[1]
    )
