"""Run `check-server` on releases of serving engines with tiny models, beside loops without rnneval.

`python benchmarks/servers.py llama.cpp MODELS SITE …` asks llama.cpp of the xllamacpp in each SITE, a folder made by
`uv pip install --no-deps --target SITE xllamacpp==2026.9.11063`; MODELS has the .gguf files. `mlx-lm MODELS SITE …`
asks mlx_lm.server, and writes its models into MODELS. Results are added to `benchmarks/servers.json`; the tables of
docs/evidence/server.md are made of all of them.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import rnneval
from rnneval.errors import RnnevalError

RESULTS = Path(__file__).with_suffix(".json")
PAGE = Path(__file__).parent.parent / "docs" / "evidence" / "server.md"
LLAMA = """
import sys, time, xllamacpp
p = xllamacpp.CommonParams()
p.model.path, p.n_parallel, p.n_ctx, p.port, p.slot_save_path = sys.argv[1], 4, 8192, int(sys.argv[2]), "/tmp/"
server = xllamacpp.Server(p)
time.sleep(600)
"""
MLX = """
import json, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
sys.modules["rnneval"] = type(sys)("rnneval")  # the models need none of it
import mlx.core as mx, mlx_models
from mlx.utils import tree_flatten
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast
kind, folder, words = sys.argv[2], Path(sys.argv[3]), sys.argv[4:]
mlx_models.SIZES["vocab_size"] = 128
folder.mkdir(parents=True)
mx.save_safetensors(str(folder / "model.safetensors"), dict(tree_flatten(mlx_models.tiny(kind).parameters())))
settings = {**mlx_models.SIZES, "model_type": kind, "expand": 1, **mlx_models.CONFIGURATIONS[kind]}
(folder / "config.json").write_text(json.dumps(settings))
tokens = Tokenizer(models.WordLevel({w: n for n, w in enumerate(["<unk>", "<eos>", *words])}, unk_token="<unk>"))
tokens.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
PreTrainedTokenizerFast(tokenizer_object=tokens, unk_token="<unk>", eos_token="<eos>").save_pretrained(folder)
"""
KINDS = ("mamba2", "nemotron_h")  # of mlx-lm
WORDS = [f"w{n}" for n in range(53)]
A, B, C = [60, 61, 62, 63, 64], [70, 71, 72, 73, 74, 75, 76, 77, 78], [70, 71, 80, 81, 82, 83, 84, 85, 86]
CACHE = tempfile.mkdtemp()  # mlx_lm.server lists no models without the folder of a cache
(Path(CACHE) / "hub").mkdir()
_ports = count(8300)


def environment(site: Path) -> dict[str, str]:
    """Return the environment of a process with the packages of a folder."""
    return {**os.environ, "PYTHONPATH": str(site), "HF_HUB_OFFLINE": "1", "HF_HOME": CACHE, "OMP_NUM_THREADS": "1"}


@contextmanager
def serving(site: Path, *words: str, model: Path, options: tuple[str, ...] = ()) -> Iterator[str]:
    """Start a server in a process of its own; end it afterwards."""
    port = str(next(_ports))
    command = [sys.executable, *words, str(model), *([port] if "-c" in words else ["--port", port]), *options]
    quiet: Any = subprocess.DEVNULL
    server = subprocess.Popen(command, env=environment(site), stdout=quiet, stderr=quiet)
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(400):
            try:
                urllib.request.urlopen(f"{url}/v1/models").close()  # noqa: S310
                break
            except OSError:
                time.sleep(0.1)
            if server.poll() is not None:
                raise RuntimeError(f"the server ended with {server.returncode} at its start")
        yield url
    finally:
        server.kill()
        server.wait()


def ask(url: str, **body: Any) -> Any:
    """Send a request."""
    sent = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})  # noqa: S310
    with urllib.request.urlopen(sent, timeout=30) as response:  # noqa: S310
        return json.load(response)


def apart(one: dict[Any, float], other: dict[Any, float]) -> float:
    """Return the largest difference of log-probabilities."""
    return max(abs(one[each] - other[each]) for each in one.keys() & other.keys())


def three_requests(url: str) -> float:
    """Ask A, B and C in one slot, then C cold in another; return how far both answers to C are apart, in nats."""

    def listed(ids: list[int], slot: int, *, cache: bool) -> dict[int, float]:
        answer = ask(f"{url}/completion", prompt=ids, n_predict=1, n_probs=272, temperature=0, cache_prompt=cache,
                     id_slot=slot)  # fmt: skip
        return {e["id"]: e["logprob"] for e in answer["completion_probabilities"][0]["top_logprobs"]}

    warm = [listed(ids, 0, cache=True) for ids in (A, B, C)][-1]
    return apart(warm, listed(C, 1, cache=False))


def _of_words(url: str, words: list[str]) -> dict[str, float]:
    answer = ask(f"{url}/v1/completions", prompt=" ".join(words), max_tokens=1, temperature=0, logprobs=True,
                 top_logprobs=10)  # fmt: skip
    return {e["token"]: e["logprob"] for e in answer["choices"][0]["logprobs"]["content"][0]["top_logprobs"]}


def at_once(url: str, cold: str) -> float:
    """Ask prompts of 12 and 5 words at the same time, and each alone of another server; return the largest distance."""
    worst = 0.0
    for at in range(0, 36, 4):
        prompts = [WORDS[at : at + 12], WORDS[at + 12 : at + 17]]
        with ThreadPoolExecutor(2) as pool:
            together = list(pool.map(lambda words: _of_words(url, words), prompts))
        worst = max(
            worst, *(apart(warm, _of_words(cold, words)) for warm, words in zip(together, prompts, strict=True))
        )
    return worst


def shorter(url: str) -> str:
    """Ask a prompt of ten words, then one of the first nine."""
    words = WORDS[-10:]
    try:
        _of_words(url, words)
        _of_words(url, words[:-1])
    except OSError as error:
        return type(error).__name__
    return "answers"


def summary(record: rnneval.records.Server, **by_hand: Any) -> dict[str, Any]:
    """Return what the page needs of a record."""
    failed = [each for each in record.scenarios if each.verdict == "fail"]
    shown = next((each for each in failed if each.repeated), None)
    return {
        "verdict": record.verdict, "seconds": record.seconds, "requests": record.requests, "limit": record.limit,
        "noise": record.noise, "failed": [each.name for each in failed],
        "shown": None if shown is None or shown.history is None else sum(map(len, shown.history)),
        "explanation": shown and shown.explanation,
        "scenarios": {each.name: each.verdict for each in record.scenarios}, **by_hand,
    }  # fmt: skip


def of_llama(site: Path, model: Path) -> dict[str, Any]:
    """Check llama.cpp, and ask it by hand; each time a new server."""
    with serving(site, "-c", LLAMA, model=model) as url:
        record = rnneval.check_server(url)
    with serving(site, "-c", LLAMA, model=model) as url:
        return summary(record, by_hand=three_requests(url))


def of_mlx(site: Path, model: Path) -> dict[str, Any]:
    """Check mlx_lm.server beside one without a cache, and ask it by hand; each time a new server."""
    start = ("-m", "mlx_lm.server", "--model")
    if not model.is_dir():
        command = [sys.executable, "-c", MLX, str(Path(__file__).parent), model.name, str(model), *WORDS]
        subprocess.run(command, env=environment(site), check=True)
    text = model.parent / "words.txt"
    text.write_text(" ".join(WORDS))
    with serving(site, *start, model=model, options=("--prompt-cache-size", "0")) as cold:
        with serving(site, *start, model=model) as url:
            record = rnneval.check_server(url, cold=cold, text=text)
        with serving(site, *start, model=model) as url:
            return summary(record, by_hand=at_once(url, cold), shorter=shorter(url))


def main(engine: str, folder: Path, *sites: Path) -> None:
    """Add the results of some releases to the file, and write the tables."""
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    package, run = ("xllamacpp", of_llama) if engine == "llama.cpp" else ("mlx_lm", of_mlx)
    for site in sites:
        release = next(site.glob(f"{package}-*.dist-info")).name.removesuffix(".dist-info").partition("-")[2]
        for model in sorted(folder.glob("*.gguf")) if package == "xllamacpp" else [folder / each for each in KINDS]:
            try:
                measured = run(site, model)
            except (RnnevalError, OSError, RuntimeError) as error:
                measured = {"verdict": "does not run", "reason": str(error)}
            results.setdefault(engine, {}).setdefault(release, {})[model.stem] = measured
            RESULTS.write_text(json.dumps(results, indent=1) + "\n")
            print(engine, release, model.stem, measured["verdict"], measured.get("failed"), flush=True)
    write_page(results)


def write_page(results: dict[str, Any]) -> None:
    """Write a table for each engine between its two marks: verdict, requests that show it, nats by hand."""
    page = PAGE.read_text()
    for engine, releases in results.items():
        models = sorted({model for each in releases.values() for model in each})
        lines = [f"| release | {' | '.join(models)} |", f"| --- {'| --- ' * len(models)}|"]
        ordered = sorted(releases, key=lambda each: [int(n) for n in each.split(".")])
        lines += [
            f"| {each} | {' | '.join(_cell(releases[each].get(model)) for model in models)} |" for each in ordered
        ]
        begin, end = f"<!-- {engine} -->\n\n", f"\n\n<!-- end of {engine} -->"
        before, rest = page.split(begin)
        page = before + begin + "\n".join(lines) + end + rest.split(end)[1]
    PAGE.write_text(page)


def _cell(each: dict[str, Any] | None) -> str:
    if each is None or "by_hand" not in each:
        return "–" if each is None else each["verdict"]
    shown = f" in {each['shown']}" if each["shown"] else ""
    return f"{each['verdict']}{shown} · {each['by_hand']:.2g}" + (f" · {each['shorter']}" if "shorter" in each else "")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), *map(Path, sys.argv[3:]))
