"""Step functions: language models of any framework, given as a function from ids and a state to logits and a state."""

from rnneval.models.step.model import StepLM, from_step

__all__ = ["StepLM", "from_step"]
