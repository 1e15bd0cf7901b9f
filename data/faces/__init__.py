"""Faces: every common container of CASIA-WebFace and of the verification packs, read without trusting it.

    records = data.faces.RecordFile("faces_webface_112x112/train.rec")
    header, encoded = records[0]
    pack = data.faces.PackedFaces("outputs/data/webface")            # written by scripts/prepare_faces.py
    encoded, same = data.faces.read_bin("lfw.bin")

Light to import: Pillow is imported only when an image is decoded.
"""

from .bin_pack import read_bin
from .crop import Crop
from .decode import ImageError, decode
from .packed import PackedFaces, check_same_preparation
from .record_file import Header, RecordFile
from .recordio import RecordError

__all__ = [
    "Crop",
    "Header",
    "ImageError",
    "PackedFaces",
    "RecordError",
    "RecordFile",
    "check_same_preparation",
    "decode",
    "read_bin",
]
