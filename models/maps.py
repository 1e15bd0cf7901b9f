"""How far the maps shrink. Rows and columns shrink alike and apart, so a size is computed side by side."""

from collections.abc import Sequence
from itertools import count

from models.table1 import POOLS, Column


def last_map(size: Sequence[int], column: Column, *, pooling: str) -> tuple[int, int]:
    """The (H, W) of the map that reaches FC, for images of `size` (H, W); 0 where a pool finds fewer than 2 pixels."""
    height, width = (_last_side(side, column.stride, pooling) for side in size)
    return height, width


def smallest_side(column: Column, *, pooling: str) -> int:
    """The fewest rows or columns of an image that leave every pool something to choose from."""
    return next(side for side in count(1) if _last_side(side, column.stride, pooling) > 0)


def _last_side(side: int, stride: int, pooling: str) -> int:
    side = -(-side // stride)  # a padded convolution keeps one pixel of every `stride`, and the last, incomplete ones
    for _ in POOLS:
        if side < 2:
            return 0
        side = -(-side // 2) if pooling == "ceil" else side // 2
    return side
