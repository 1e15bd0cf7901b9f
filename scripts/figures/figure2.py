"""Figure 2: the features of MNIST in a plane, a column for each loss, training images above, test images below."""

import statistics

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from scripts.figures import Material, style


def draw(material: Material) -> Figure:
    rows, [column] = material.plan["rows"], material.plan["columns"]
    figure, axes = style.panels(2, len(rows), style.PAGE, 4.3)
    for place, row in enumerate(rows):
        above, below = axes[:, place]
        above.set_title(style.short(row["label"]))
        features = material.features.get((row["label"], column["label"]))
        for part, panel in (("train", above), ("test", below)):
            if features is None:
                style.nothing(panel)
            else:
                _scatter(panel, features[f"{part}_features"].astype(float), features[f"{part}_labels"])
        below.set_xlabel("first feature\n" + _accuracy(material, row, column["label"]))
    axes[0, 0].set_ylabel("training set\nsecond feature")
    axes[1, 0].set_ylabel("test set\nsecond feature")
    handles, labels = next((a.get_legend_handles_labels() for a in axes.flat if a.collections), ([], []))
    if handles:
        figure.legend(handles, labels, title="digit", loc="outside right center", handletextpad=0.1, markerscale=4)
    return figure


def _scatter(axes: Axes, features, labels) -> None:  # type: ignore[no-untyped-def]
    from matplotlib import colormaps

    for label in range(int(labels.max()) + 1):
        x, y = features[labels == label].T
        axes.scatter(x, y, s=1.2, linewidths=0, color=colormaps["tab10"](label), label=str(label), rasterized=True)
    axes.set_aspect("equal", adjustable="datalim")
    axes.axhline(0, color="0.8", linewidth=0.5, zorder=0)
    axes.axvline(0, color="0.8", linewidth=0.5, zorder=0)


def _accuracy(material: Material, row: dict, column: str) -> str:  # type: ignore[type-arg]
    """The test accuracy beside the paper's, in percent."""
    errors = [run["test_error"] for run in material.runs.get((row["label"], column), [])]
    values = [100 - error for error in errors if error is not None]
    spread = f" ± {statistics.stdev(values):.2f}" if len(values) > 1 else ""
    ours = f"{statistics.mean(values):.2f}{spread} %" if values else "no number" if errors else "not run"
    return f"test accuracy {ours}\n(paper {row['accuracy']:.2f} %)"
