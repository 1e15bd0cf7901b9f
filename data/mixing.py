"""Numbers that look random and are a function of their position: no state, no library's random stream.

Splits use them because they must never change; the loader seeds its generators with them.
"""

import hashlib
from typing import TypeVar

import numpy as np

Unsigned = TypeVar("Unsigned", int, np.ndarray)

_MASK64 = 0xFFFF_FFFF_FFFF_FFFF
_MASK32 = 0xFFFF_FFFF


def splitmix64(number: Unsigned) -> Unsigned:
    """One step of Vigna's splitmix64, a bijection of 64-bit numbers: a Python int or a uint64 array, which wraps."""
    number = (number + 0x9E37_79B9_7F4A_7C15) & _MASK64
    number = ((number ^ (number >> 30)) * 0xBF58_476D_1CE4_E5B9) & _MASK64
    number = ((number ^ (number >> 27)) * 0x94D0_49BB_1331_11EB) & _MASK64
    return number ^ (number >> 31)


def key_of(purpose: str, seed: int = 0) -> int:
    """A 64-bit key that is another one for every purpose and seed."""
    return int.from_bytes(hashlib.sha256(f"{purpose} {seed}".encode()).digest()[:8], "little")


def generator_seed(key: int, index: int) -> int:
    """A 64-bit seed for `torch.Generator.manual_seed`, the `index`-th of the stream `key`.

    torch's CPU generator looks at the low 32 bits of its seed alone. These are a bijection of `index` (below 2^32), so
    that no two steps of a run share a seed there; a 64-bit hash cut to 32 bits would collide within 100,000 steps.
    """
    low = _mix32(_mix32((index ^ key) & _MASK32) ^ (key >> 32))
    high = splitmix64(splitmix64(index) ^ key) >> 32
    return high << 32 | low


def _mix32(number: int) -> int:
    """The finalizer of MurmurHash3: a bijection of 32-bit numbers."""
    number = ((number ^ (number >> 16)) * 0x85EB_CA6B) & _MASK32
    number = ((number ^ (number >> 13)) * 0xC2B2_AE35) & _MASK32
    return number ^ (number >> 16)
