"""A crop out of an image, by an affine map: bilinear, 0 outside, no antialiasing, as the field does it."""

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from PIL import Image

LEAST_AREA = 1e-12  # of the crop for one of the image: a map that shrinks more has no inverse


def warp(image: "Image.Image", matrix: np.ndarray, size: tuple[int, int]) -> "Image.Image":
    """The crop of `size` (rows, columns) with crop[y, x] = image[inverse(matrix) (x, y)].

    `matrix` (2, 3) takes points of the image to points of the crop; pixel centres have whole coordinates from 0. Pillow
    rounds down where OpenCV rounds. ValueError if the matrix has no inverse.
    """
    from PIL import Image

    (a, b, c), (d, e, f) = matrix.tolist()
    determinant = a * e - b * d
    if not abs(determinant) > LEAST_AREA:
        raise ValueError("the alignment has no inverse")
    a, b, d, e = e / determinant, -b / determinant, -d / determinant, a / determinant
    c, f = -(a * c + b * f), -(d * c + e * f)

    # Plain numbers: numpy takes longer to begin than this takes.
    corners = [(x, y) for x in (0, size[1] - 1) for y in (0, size[0] - 1)]
    columns, rows = [a * x + b * y + c for x, y in corners], [d * x + e * y + f for x, y in corners]
    if min(*columns, *rows) < 0 or max(columns) > image.width - 1 or max(rows) > image.height - 1:
        # Pillow would repeat the edge by half a pixel: a black frame instead.
        framed = Image.new("RGB", (image.width + 2, image.height + 2))
        framed.paste(image, (1, 1))
        image, c, f = framed, c + 1, f + 1
    # To Pillow, pixel centres are at halves.
    coefficients = (a, b, c + 0.5 - (a + b) / 2, d, e, f + 0.5 - (d + e) / 2)
    return image.transform(size[::-1], Image.Transform.AFFINE, coefficients, Image.Resampling.BILINEAR)
