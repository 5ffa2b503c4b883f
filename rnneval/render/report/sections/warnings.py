"""What a reader of the numbers should know besides."""

from collections.abc import Sequence

from rnneval.metrics.diagnostics import findings as rules
from rnneval.records import Gradients, Run
from rnneval.render.report.blocks import Notice, Section
from rnneval.render.report.given import Given, subjects

ORDER = 60


def section(given: Sequence[Given]) -> Section | None:
    """Every warning once, with the model that it is about; those of the inside stand there."""
    known = {rule.NAME for rule in rules.all_rules()}
    models = subjects(given)
    said: dict[tuple[str, str, str], None] = {}
    for model in models:
        for each in model.given:
            if isinstance(each.record, Run | Gradients):
                said |= {(model.name, w.code, w.message): None for w in each.record.warnings if w.code not in known}
    if not said:
        return None
    return Section(
        anchor="warnings",
        title="Warnings",
        lead="What a reader of these numbers should know besides.",
        blocks=tuple(
            Notice(kind="unsure", title=f"{name}: {code}" if len(models) > 1 else code, text=message)
            for name, code, message in said
        ),
    )
