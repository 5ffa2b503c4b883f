"""Rules on checkpoints that are a folder or several files: TensorFlow checkpoints and SavedModels.

Each function is a rule, as in `rnneval.files.rules`.
"""

from collections.abc import Iterator

from rnneval.files.bundle import Bundle
from rnneval.files.path_facts import Folder, SavedModelGraph
from rnneval.files.rules import rule

_MAX_GRAPH_BYTES = 1 << 27


@rule(about="folder", order=410, advice="give the .keras file")
def folder_unzipped(folder: Folder) -> Iterator[str]:
    """The folder is an unzipped `.keras` file.

    ## What it refuses
    `config.json` and `model.weights.h5` as loose files.

    ## Why
    Its parts could be exchanged between the check and the load, and no checksum holds them together.

    ## What to do
    Give the `.keras` file; if there is none, zip the folder's content.
    """
    if {"config.json", "model.weights.h5"} <= set(folder.names):
        yield "an unzipped .keras file; its parts could be exchanged"


@rule(about="folder", order=420, advice="copy the folder with its links followed (cp -rL), if you trust it")
def folder_link(folder: Folder) -> Iterator[str]:
    """A part of the checkpoint lies outside of its folder, or is no plain file.

    ## What it refuses
    Links to another place, a `checkpoint` file that names a path outside, pipes and devices.

    ## Why
    A checkpoint from elsewhere must not choose which file of yours is read.

    ## What to do
    `cp -rL FOLDER COPY` makes a folder without links; look at what it copied. Folders of the Hugging Face cache are
    made of links.

    ## References
    - CWE-59, CWE-22.
    """
    for named in folder.named_outside:
        yield f"its file checkpoint names {named[:80]!r}, outside of the folder"
    for name in folder.outside:
        yield f"{name} is a link out of the folder"
    for name in folder.special:
        yield f"{name} is no plain file"


@rule(about="bundle", order=430, advice="copy or save it again")
def bundle_layout(bundle: Bundle) -> Iterator[str]:
    """The index of a TensorFlow checkpoint does not describe its data.

    ## What it refuses
    An index that is damaged, compressed or beyond 64 MB; a tensor that lies outside of its data file, whose size is not
    that of its shape, that is no number, or that comes in slices.

    ## Why
    The index is a table of where each tensor lies. What it says is checked against the files before TensorFlow takes
    memory for it.

    ## What to do
    Copy or save the checkpoint again.

    ## References
    - TensorFlow: tensor_bundle.proto, the table format of LevelDB.
    """
    yield from bundle.disagreements


@rule(about="bundle", order=440, advice="the file is damaged, copy it again")
def bundle_checksum(bundle: Bundle) -> Iterator[str]:
    """A part of a TensorFlow checkpoint does not match its checksum.

    ## What it refuses
    Any block of the index and any tensor whose CRC-32C is not the stored one, of the optimizer's too.

    ## Why
    A flipped bit is another model. TensorFlow looks at a tensor's checksum only when it reads that tensor.

    ## What to do
    Copy the checkpoint again from an undamaged place.

    ## References
    - RFC 3720, appendix B.4: CRC-32C.
    """
    for name in bundle.damaged:
        yield f"{name} does not match its checksum"


@rule(
    about="graph",
    order=450,
    advice="give the code that makes the model, --builder FILE.py:NAME, as in: rnneval evaluate CHECKPOINT TEXT "
    "--builder train.py:MyModel",
)
def graph_never_run(graph: SavedModelGraph) -> Iterator[str]:
    """A SavedModel is a program, and it is never run.

    ## What it refuses
    A SavedModel without `--builder`; a `saved_model.pb` of more than 128 MB.

    ## Why
    Its graph may hold any operation: reading and writing files (`WriteFile`, `ReadFile`), calling Python. Loading it
    already runs its initialisation.

    ## What to do
    With `--builder`, weights and vocabulary are read out of it as data.

    ## References
    - TensorFlow's SECURITY.md: models are programs.
    - CVE-2026-1462.
    """
    if not graph.has_builder:
        yield "a SavedModel, whose graph is never run"
    if graph.size > _MAX_GRAPH_BYTES:
        yield f"saved_model.pb has {graph.size:,} bytes; up to {_MAX_GRAPH_BYTES:,} are read"
