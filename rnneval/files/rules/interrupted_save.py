"""What saving left behind when it failed or was stopped.

## What it refuses
An empty file; HDF5 that holds nothing (800 bytes); a `.keras` file whose weights were never written; a TensorFlow
checkpoint of which only temporary files are there.

## Why
Keras opens the file before it knows whether the model can be saved: of a subclassed model without `get_config` an
empty `.keras` or `.h5` file remains. A killed training leaves the others.

## What to do
Save the model again. A subclassed model is saved by its weights: `model.save_weights('name.weights.h5')`.
"""

from collections.abc import Iterator

from rnneval.files.head import Head

NAME, ABOUT, ORDER = "interrupted-save", "head", 30
ADVICE = (
    "save it again; of a subclassed model save the weights (model.save_weights('name.weights.h5')) and give --builder"
)


def find(head: Head) -> Iterator[str]:
    """Nothing at all, or a zip whose end was never written and that has no weights yet."""
    if not head.size:
        yield (
            "an empty file; Keras leaves one where saving failed, as it does for a subclassed model without get_config"
        )
    elif head.unfinished:
        yield f"a .keras file that was not written to its end (it holds {', '.join(head.unfinished)} alone)"
