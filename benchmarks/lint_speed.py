"""How fast `rnneval lint` reads: lines a second on one core, and the time until it has started.

Run it alone: `python benchmarks/lint_speed.py [FOLDER ...] [--out FILE.json]`. Without a folder it reads the
packages that are installed beside rnneval. Three figures, since what a file holds decides: all files, the files
that name a recurrent layer at all (others are only parsed), and a made file in which every line belongs to a wrong
recurrent model.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

from rnneval.lint.check import check_file
from rnneval.lint.files import Settings, discover
from rnneval.lint.names import MENTIONS

DENSE = """
import tensorflow as tf
class Model{number}(tf.keras.Model):
    def __init__(self, v, e, u):
        super().__init__()
        self.embedding = tf.keras.layers.Embedding(v, e)
        self.gru = tf.keras.layers.GRU(u, return_sequences=True, return_state=True)
        self.gru_2 = tf.keras.layers.GRU(u, return_sequences=True, return_state=True)
        self.dense = tf.keras.layers.Dense(v)
    def call(self, inputs, states=None, return_state=False, training=False):
        x = self.embedding(inputs, training=training)
        if states is None:
            states = self.gru.get_initial_state(x)
        x, states = self.gru(x, initial_state=states, training=training)
        x, states = self.gru_2(x, initial_state=states, training=training)
        x = self.dense(x, training=training)
        return (x, states) if return_state else x
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folders", nargs="*", default=[sysconfig.get_paths()["purelib"]])
    parser.add_argument("--most", type=int, default=2_000_000, help="lines to read at most")
    parser.add_argument("--out")
    options = parser.parse_args()
    files, mentioning = chosen(options.folders, options.most)
    figures = {
        "all files": speed(files),
        "files that name a recurrent layer": speed(mentioning),
        "a file of wrong models only": dense_speed(),
        "start (rnneval lint on one file), median seconds of processor time": start_seconds(),
    }
    for name, value in figures.items():
        print(f"{name:70} {value}")
    if options.out:
        Path(options.out).write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


def chosen(folders: list[str], most: int) -> tuple[list[str], list[str]]:
    files, mentioning, lines = [], [], 0
    for file in discover(folders, Settings()):
        content = Path(file).read_bytes()
        lines += content.count(b"\n")
        if lines > most:
            break
        files.append(file)
        if MENTIONS.search(content.decode("utf-8", "replace")):
            mentioning.append(file)
    return files, mentioning


def speed(files: list[str]) -> dict[str, float]:
    lines = sum(Path(file).read_bytes().count(b"\n") for file in files)
    start = time.process_time()
    for file in files:
        check_file(file)
    seconds = time.process_time() - start
    return {"files": len(files), "lines": lines, "lines_per_second": round(lines / max(seconds, 1e-9))}


def dense_speed() -> dict[str, float]:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "dense.py"
        file.write_text("".join(DENSE.replace("{number}", str(number)) for number in range(1_500)), encoding="utf-8")
        return speed([str(file)])


def start_seconds() -> float:
    seconds = []
    for _ in range(9):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-m", "rnneval", "lint", __file__], check=True, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return round(statistics.median(seconds), 3)


if __name__ == "__main__":
    main()
