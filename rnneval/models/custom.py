"""Classes and functions of the user's own, for whole models that need them: from the module that --builder names."""

from types import ModuleType
from typing import Any

import keras

from rnneval.models.builder import imported


def custom_objects(spec: str) -> dict[str, Any]:
    """Import the module of `spec` (which runs it) and give what a saved model may ask of it, by its saved names.

    Those are layers and models, by their own names and by the names under which they are registered, and the module's
    functions (an activation, say).
    """
    module = imported(spec)
    found: dict[str, Any] = {}
    for name, thing in vars(module).items():
        if _may_be_saved(thing, module):
            found[name] = thing
            found[keras.saving.get_registered_name(thing)] = thing
    return found


def _may_be_saved(thing: Any, module: ModuleType) -> bool:
    if isinstance(thing, type):
        ours = not thing.__module__.startswith(("keras.", "tensorflow."))
        return ours and issubclass(thing, keras.layers.Layer)
    return callable(thing) and getattr(thing, "__module__", None) == module.__name__ and hasattr(thing, "__code__")
