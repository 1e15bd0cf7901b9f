"""A crop out of an image, by an affine map: bilinear, 0 outside, no antialiasing, as the field does it."""

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from PIL import Image


def warp(image: "Image.Image", matrix: np.ndarray, size: tuple[int, int]) -> "Image.Image":
    """The crop of `size` (rows, columns) with crop[y, x] = image[inverse(matrix) (x, y)].

    `matrix` (2, 3) takes points of the image to points of the crop; pixel centres have whole coordinates from 0. Pillow
    rounds down where OpenCV rounds. ValueError if the matrix has no inverse.
    """
    from PIL import Image

    try:
        linear = np.linalg.inv(matrix[:, :2])
    except np.linalg.LinAlgError:
        raise ValueError("the alignment has no inverse") from None
    shift = -linear @ matrix[:, 2]
    corners = linear @ [[0, size[1] - 1, 0, size[1] - 1], [0, 0, size[0] - 1, size[0] - 1]] + shift[:, None]
    if corners.min() < 0 or (corners.max(axis=1) > [image.width - 1, image.height - 1]).any():
        # Pillow would repeat the edge by half a pixel: a black frame instead.
        framed = Image.new("RGB", (image.width + 2, image.height + 2))
        framed.paste(image, (1, 1))
        image, shift = framed, shift + 1
    shift += 0.5 - linear @ [0.5, 0.5]  # to Pillow, pixel centres are at halves
    coefficients = (*linear[0], shift[0], *linear[1], shift[1])
    return image.transform(size[::-1], Image.Transform.AFFINE, coefficients, Image.Resampling.BILINEAR)
