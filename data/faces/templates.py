"""Where the five landmarks of an aligned face lie, in pixels from 0, (x, y).

The order everywhere is that of LANDMARKS; left as seen in the image.
"""

import numpy as np

from lsoftmax.errors import UserError

LANDMARKS = ("left eye", "right eye", "nose tip", "left corner of the mouth", "right corner of the mouth")
# SphereFace and caffe-face; ArcFace's 112 x 112 is the same, 8 columns further right.
SPHEREFACE = np.array(
    [[30.2946, 51.6963], [65.5318, 51.5014], [48.0252, 71.7366], [33.5493, 92.3655], [62.7299, 92.2041]]
)
ARCFACE = SPHEREFACE + [8.0, 0.0]
TEMPLATES = {(112, 96): SPHEREFACE, (112, 112): ARCFACE}

# LFW's images of 250 x 250, all 13,233: the mean of their landmarks. CASIA-WebFace was collected alike.
MEAN_LFW = np.array([[104.67, 112.49], [145.09, 111.73], [124.85, 136.51], [107.60, 157.14], [143.56, 156.73]])
MEAN_SIZE = (250, 250)


def parse_size(text: str) -> tuple[int, int]:
    """ "112x96" -> (112, 96): rows, columns. UserError for a size without a template."""
    names = {f"{height}x{width}": (height, width) for height, width in TEMPLATES}
    if text not in names:
        raise UserError(f"size={text}: must be {' or '.join(names)} (rows x columns)")
    return names[text]
