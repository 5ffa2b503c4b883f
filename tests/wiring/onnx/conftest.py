"""Without onnx the graphs cannot be made, and the tests say why they are skipped."""

from importlib.util import find_spec

collect_ignore = [] if find_spec("onnx") else ["decays.py", "zoo.py"]
