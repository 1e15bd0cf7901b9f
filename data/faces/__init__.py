"""Faces: every common container of CASIA-WebFace and of the verification packs, read without trusting it.

    encoded, same = data.faces.read_bin("lfw.bin")

Light to import: Pillow is imported only when an image is decoded.
"""

from .bin_pack import read_bin
from .decode import ImageError, Limits, decode

__all__ = ["ImageError", "Limits", "decode", "read_bin"]
