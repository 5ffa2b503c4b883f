"""Time and memory of the n-gram baselines: a text as it is, and one of 10 million characters made from it.

The long text repeats the short one with 3 % of its characters drawn anew, so that high orders have many n-grams. The
short one, up to order 7, has to take at most 15 s, the long one with all orders 120 s and 2 GB. Seconds are shown
beside those of sorting the same number of keys once, which a busy machine slows down as well.

    python benchmarks/ngrams.py --text tinyshakespeare.txt
"""

import argparse
import resource
import time
from pathlib import Path

import numpy as np

from rnneval.metrics.baselines.ngram import TokenText, copied, losses_by_order

ONE = np.array([0])


def measure(fitted: np.ndarray, scored: np.ndarray, max_order: int) -> dict[str, float]:
    keys = np.random.default_rng(0).integers(0, len(fitted), len(fitted))
    start = time.perf_counter()
    np.argsort(keys)
    sorting, start, cpu = time.perf_counter() - start, time.perf_counter(), time.process_time()
    texts = TokenText(fitted, ONE), TokenText(scored, ONE)
    for _ in losses_by_order(*texts, vocabulary_size=256, max_order=max_order):
        pass
    copied(*texts, vocabulary_size=256)
    seconds = time.perf_counter() - start
    return {
        "tokens": len(fitted),
        "seconds": round(seconds, 1),
        "cpu_seconds": round(time.process_time() - cpu, 1),
        "times_a_sort": round(seconds / sorting, 1),
        "peak_gb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--text", type=Path, required=True)
    text = np.frombuffer(parser.parse_args().text.read_bytes(), np.uint8).astype(np.int32)
    cut, rng = len(text) * 9 // 10, np.random.default_rng(0)
    print(measure(text[:cut], text[cut:], 7))
    long = np.resize(text, 11_000_000)
    changed = rng.random(len(long)) < 0.03
    long[changed] = rng.integers(32, 122, np.count_nonzero(changed))
    print(measure(long[:10_000_000], long[10_000_000:], 9))


if __name__ == "__main__":
    main()
