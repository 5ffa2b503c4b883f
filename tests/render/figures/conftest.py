"""Drawing without a window, and without a figure that another test left behind."""

import pytest


@pytest.fixture
def ax():
    """Axes of their own, as large as on a page."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.5, 4.0))
    FigureCanvasAgg(figure)
    return figure.add_subplot()
