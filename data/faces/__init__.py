"""Faces: every common container of CASIA-WebFace and of the verification packs, read without trusting it.

    records = data.faces.RecordFile("faces_webface_112x112/train.rec")
    header, encoded = records[0]
    encoded, same = data.faces.read_bin("lfw.bin")

Light to import: Pillow is imported only when an image is decoded.
"""

from .bin_pack import read_bin
from .decode import ImageError, Limits, decode
from .record_file import Header, RecordFile
from .recordio import RecordError

__all__ = ["Header", "ImageError", "Limits", "RecordError", "RecordFile", "decode", "read_bin"]
