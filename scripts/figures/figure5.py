"""Figure 5: cosines between the features of test images in the order of their classes."""

from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure

from lsoftmax.metrics import ClassCosines, CosineSums
from scripts.figures import Material, style


def draw(material: Material) -> Figure:
    rows, columns = material.plan["rows"], material.plan["columns"]
    figure, axes = style.panels(len(rows), len(columns), style.PAGE, 5.3)
    image = None
    for i, row in enumerate(rows):
        for j, column in enumerate(columns):
            panel, place = axes[i, j], (row["label"], column["label"])
            panel.set_title(f"{style.short(row['label'])}, {column['label']}")
            if place not in material.features:
                style.nothing(panel)
                panel.set_box_aspect(1)
                continue
            features, labels = (material.features[place][f"test_{what}"] for what in ("features", "labels"))
            cosines = cosine_matrix(features)
            image = panel.imshow(cosines, vmin=0, vmax=1, cmap="magma", interpolation="none")
            means = class_cosines(features, labels)
            panel.set_xlabel(f"mean: same class {means.same_class:.2f}, other {means.other_classes:.2f}")
            middles = [np.flatnonzero(labels == label).mean() for label in range(int(labels.max()) + 1)]
            shown = range(0, len(middles), max(1, len(middles) // 10))
            panel.set_xticks([])
            panel.set_yticks([middles[k] for k in shown], [str(k) for k in shown])
            panel.tick_params(length=0)
        axes[i, 0].set_ylabel("class of the image")
    if image is not None:
        figure.colorbar(image, ax=axes, label="cosine of the features", shrink=0.6, extend="min", aspect=30)
    return figure


def cosine_matrix(features: Any) -> Any:
    """(N, D) -> (N, N); a feature of length zero has cosine 0 with everything."""
    features = features.astype(np.float64)
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    unit = features / np.where(lengths > 0, lengths, 1)
    return unit @ unit.T


def class_cosines(features: Any, labels: Any) -> ClassCosines:
    """numpy's (N, D), (N,) -> their mean cosines."""
    sums = CosineSums(int(labels.max()) + 1, features.shape[1])
    sums.update(torch.from_numpy(features), torch.from_numpy(labels).long())
    return sums.compute()
