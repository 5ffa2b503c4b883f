"""Rules on what is known before the content is read: the path, the first bytes, and why opening failed.

Each function is a rule, as in `rnneval.files.rules`.
"""

from collections.abc import Iterator

from rnneval.files.path_facts import Failure, Head, graph_in
from rnneval.files.rules import rule

_PICKLES = tuple(b"\x80" + bytes([protocol]) for protocol in range(2, 6))


@rule(about="head", order=10, advice="download it and give the local path")
def remote_path(head: Head) -> Iterator[str]:
    """The path is an address and not a local file.

    ## What it refuses
    `http://…`, `gs://…`, `hf://…` and any other address.

    ## Why
    Only a file can be hashed. TensorFlow's own file functions would fetch from any address in a path.

    ## What to do
    Download the file, look at where it came from, and give the local path.
    """
    # pathlib makes one slash of the two that follow the scheme.
    scheme, colon, _ = str(head.path).partition(":/")
    if colon and len(scheme) > 1 and scheme.isalnum() and not head.exists:
        yield f"an address ({scheme}://…)"


@rule(about="head", order=20, advice="save it in another format (.keras, .h5, .weights.h5; of a vocabulary, JSON)")
def pickle(head: Head) -> Iterator[str]:
    """A pickle: reading one runs code.

    ## What it refuses
    Files that begin like a pickle of protocol 2 to 5, whatever they are called; as a vocabulary also `.pkl`, `.pickle`,
    `.p` and `.npy` arrays of objects, which are pickles inside.

    ## Why
    A pickle is a program, and unpickling runs it. It is never read.

    ## What to do
    Save the model in another format. For a vocabulary, the message prints the line of Python that turns it into JSON,
    if you trust it.

    ## References
    - Python's documentation of pickle: the warning at the top.
    - CVE-2019-6446: NumPy's `allow_pickle`.
    """
    if head.start.startswith(_PICKLES):
        yield "a pickle: reading one runs code, so it is never read"


@rule(
    about="head",
    order=30,
    advice="save it again; of a subclassed model save the weights (model.save_weights('name.weights.h5')) and give "
    "--builder",
)
def interrupted_save(head: Head) -> Iterator[str]:
    """The file is left over from a save that failed or was stopped.

    ## What it refuses
    An empty file; HDF5 that holds nothing (800 bytes); a `.keras` file whose weights were never written; a TensorFlow
    checkpoint of which only temporary files are there.

    ## Why
    Keras opens the file before it knows whether the model can be saved: of a subclassed model without `get_config` an
    empty `.keras` or `.h5` file remains. A killed training leaves the others.

    ## What to do
    Save the model again. A subclassed model is saved by its weights: `model.save_weights('name.weights.h5')`.
    """
    if not head.size:
        yield (
            "an empty file; Keras leaves one where saving failed, as it does for a subclassed model without get_config"
        )
    elif head.unfinished:
        yield f"a .keras file that was not written to its end (it holds {', '.join(head.unfinished)} alone)"


@rule(
    about="head",
    order=40,
    advice="a checkpoint is a .keras or .h5 file, or with --builder a .weights.h5 file or a TensorFlow checkpoint",
)
def no_checkpoint(head: Head) -> Iterator[str]:
    """The file is not a checkpoint: its first bytes say that it is something else.

    ## What it refuses
    A Git LFS pointer, an HTML page, a text file, a frozen graph (`.pb`), other bytes. The first bytes decide, not the
    ending of the name.

    ## Why
    Most broken checkpoints are wrong downloads, and their names look right.

    ## What to do
    Fetch the file itself: `git lfs pull`, or the download link instead of the page about it.
    """
    if not head.start.startswith((b"PK\x03\x04", b"\x89HDF\r\n\x1a\n")):
        yield _looks_like(head.start)


def _looks_like(start: bytes) -> str:
    if start.startswith(b"version https://git-lfs"):
        return "a Git LFS pointer and not the file itself: run git lfs pull"
    if start.lstrip()[:15].lower().startswith((b"<!doctype html", b"<html")):
        return "an HTML page: the download gave a page about the file instead of the file"
    if graph := graph_in(start):
        return graph
    try:
        start.decode("utf-8", errors="strict")
    except UnicodeDecodeError as error:
        if error.start < len(start) - 4:  # else only the last character is cut
            return f"neither a zip nor an HDF5 file (it begins with {start[:4].hex(' ')})"
    return "a text file"


@rule(about="failure", order=50, advice="check its permissions and whether the disk is there")
def unreadable_file(failure: Failure) -> Iterator[str]:
    """The file is there and may not be read.

    ## What it refuses
    A file that the operating system does not open: no permission, a disk that fails, a link that leads nowhere.

    ## Why
    The file is not damaged: it may be fine.

    ## What to do
    `ls -l` shows who may read it.
    """
    if failure.system and not failure.locked:
        yield f"cannot be read: {failure.system}"


@rule(about="failure", order=51, advice="wait until it is saved, or give a copy")
def locked_file(failure: Failure) -> Iterator[str]:
    """Another process is writing the file.

    ## What it refuses
    An HDF5 file that another process has locked, or has open for writing.

    ## Why
    A training that is saving holds the lock. A reader would get half of the old and half of the new weights.

    ## What to do
    Wait, or evaluate a copy. If no process has it, the writer was killed: `h5clear -s FILE` clears the mark.

    ## References
    - HDF5: file locking, HDF5_USE_FILE_LOCKING.
    """
    if failure.locked:
        yield "locked: another process has it open for writing"


@rule(about="failure", order=52, advice="copy or save it again")
def damaged_file(failure: Failure) -> Iterator[str]:
    """The file is broken: truncated, or its structure makes no sense.

    ## What it refuses
    A `.keras` file without its end, HDF5 that is shorter or longer than it says or cannot be read, a checkpoint of
    TensorFlow with a part missing or cut.

    ## Why
    A copy that stopped early opens in places and not in others; weights that are not there would be guessed. A file
    with another one appended is two models to two programs.

    ## What to do
    Copy it again and compare sizes, or `--expect-sha256`.
    """
    if not failure.locked and not failure.system:
        yield failure.said


@rule(about="vocabulary", order=510, advice="save it again")
def vocabulary_array(_file: object) -> Iterator[str]:
    """A vocabulary file declares more than it holds.

    ## What it refuses
    A `.npy` file whose header declares more bytes than the file has.

    ## Why
    NumPy takes the memory for the declared shape before it reads: a hundred bytes can ask for a terabyte.

    ## What to do
    Save the vocabulary again, as JSON best of all.

    ## References
    - CWE-789.
    """
    # The package `text` reads vocabularies and compares; it is imported before this one and raises the error itself.
    yield from ()
