"""The pairs that came out worst, as one picture."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from data.faces.decode import ImageError, decode_image
from lsoftmax.errors import UserError
from lsoftmax.files import write_atomically
from lsoftmax.metrics import Verification

if TYPE_CHECKING:
    from PIL import Image

SHOWN = 10  # of either kind
HEIGHT, GAP, TEXT, COLUMN = 112, 6, 26, 236  # px


def draw_worst(
    path: Path,
    verification: Verification,
    same: list[bool],
    content: Callable[[int], bytes | np.ndarray],
    names: Callable[[int], str],
) -> None:
    """Left the matched pairs that scored lowest, right the mismatched that scored highest, against their thresholds.

    content(i), names(i): the image, encoded or (3, H, W) uint8, and its name; image 2k and 2k + 1 of pair k.
    """
    from PIL import Image, ImageDraw, ImageFont

    thresholds = verification.scores.new_tensor(verification.thresholds)[verification.folds]
    above = (verification.scores - thresholds).tolist()
    order = sorted(range(len(same)), key=above.__getitem__)
    kinds = (
        ("same person, scored lowest", [k for k in order if same[k]][:SHOWN]),
        ("different people, scored highest", [k for k in reversed(order) if not same[k]][:SHOWN]),
    )
    rows = max(len(pairs) for _, pairs in kinds)
    sheet = Image.new("RGB", (GAP + 2 * (COLUMN + GAP), 24 + rows * (HEIGHT + TEXT + GAP)), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=10)
    for column, (title, pairs) in enumerate(kinds):
        left = GAP + column * (COLUMN + GAP)
        draw.text((left, 6), title, fill="black", font=ImageFont.load_default(size=12))
        for row, pair in enumerate(pairs):
            top = 24 + row * (HEIGHT + TEXT + GAP)
            for side in (0, 1):
                name = names(2 * pair + side)
                image = _image(content(2 * pair + side), name)
                width = (COLUMN - GAP) // 2
                image.thumbnail((width, HEIGHT))
                sheet.paste(image, (left + side * (width + GAP), top))
                draw.text((left + side * (width + GAP), top + HEIGHT), _cut(draw, name, width, font), "black", font)
            verdict = "right" if verification.correct[pair] else "wrong"
            score = f"{float(verification.scores[pair]):.3f}, threshold {float(thresholds[pair]):.3f}: {verdict}"
            draw.text((left, top + HEIGHT + 12), score, "#b00020" if verdict == "wrong" else "#336633", font)
    write_atomically(path, lambda file: sheet.save(file, format="PNG"))


def _image(content: bytes | np.ndarray, name: str) -> "Image.Image":
    from PIL import Image

    if isinstance(content, np.ndarray):
        return Image.fromarray(content.transpose(1, 2, 0))
    try:
        return decode_image(content)
    except ImageError as error:
        raise UserError(f"{name}: {error}") from error


def _cut(draw: object, text: str, width: int, font: object) -> str:
    """The end of the text that is no wider: names differ at their ends."""
    text = text.rpartition("/")[2]
    if draw.textlength(text, font=font) <= width:  # type: ignore[attr-defined]
        return text
    while draw.textlength("..." + text, font=font) > width:  # type: ignore[attr-defined]
        text = text[1:]
    return "..." + text
