"""decode: whatever is stored becomes RGB of 8 bits; whatever is no face image is refused before it takes memory."""

import io
import struct
import subprocess
import sys
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data.faces import ImageError, decode
from data.faces.decode import decode_image, is_turned

PIXELS = np.random.default_rng(0).integers(0, 256, (6, 5, 3), dtype=np.uint8)


def encoded(image: Image.Image, format: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


@pytest.mark.parametrize("format", ["PNG", "BMP"])
def test_rgb_comes_back_exactly(format: str) -> None:
    found = decode(encoded(Image.fromarray(PIXELS), format))
    assert found.dtype == np.uint8 and np.array_equal(found, PIXELS)


def test_jpeg_is_rgb_not_bgr() -> None:
    red = np.zeros((16, 16, 3), np.uint8)
    red[..., 0] = 200
    found = decode(encoded(Image.fromarray(red), "JPEG", quality=95)).reshape(-1, 3).mean(axis=0)
    assert found == pytest.approx([200, 0, 0], abs=3)


@pytest.mark.parametrize("format", ["PNG", "JPEG", "BMP"])
def test_grey_becomes_three_equal_channels(format: str) -> None:
    found = decode(encoded(Image.fromarray(PIXELS[..., 0]), format))
    assert found.shape == (6, 5, 3)
    assert np.array_equal(found[..., 0], found[..., 1]) and np.array_equal(found[..., 0], found[..., 2])


def test_16_bit_grey_keeps_its_high_byte() -> None:
    values = np.array([[0, 255, 256, 32767, 65535]], dtype=np.uint16)
    assert decode(encoded(Image.fromarray(values)))[0, :, 0].tolist() == [0, 0, 1, 127, 255]


def test_alpha_is_dropped_not_blended() -> None:
    rgba = np.dstack([PIXELS, np.zeros((6, 5), np.uint8)])
    assert np.array_equal(decode(encoded(Image.fromarray(rgba))), PIXELS)


@pytest.mark.parametrize("transparency", [None, 0, b"\x00\x80\xff"])
def test_a_palette_is_looked_up(transparency: object) -> None:
    image = Image.fromarray(np.array([[0, 1, 2]], np.uint8)).convert("P")
    image.putpalette([9, 8, 7, 60, 50, 40, 200, 100, 0])
    options = {} if transparency is None else {"transparency": transparency}
    assert decode(encoded(image, **options)).tolist() == [[[9, 8, 7], [60, 50, 40], [200, 100, 0]]]


def test_cmyk_jpeg_becomes_rgb() -> None:
    found = decode(encoded(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG")).reshape(-1, 3).mean(axis=0)
    assert found[0] > 200 and found[1] < 40 and found[2] < 40


def test_one_bit_becomes_black_and_white() -> None:
    assert sorted(np.unique(decode(encoded(Image.new("1", (4, 4), 1))))) == [255]


def test_exif_orientation_is_ignored_and_noticed() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = encoded(Image.fromarray(np.zeros((6, 5, 3), np.uint8)), "JPEG", exif=exif)
    assert decode(turned).shape == (6, 5, 3)
    assert is_turned(decode_image(turned))
    assert not is_turned(decode_image(encoded(Image.fromarray(PIXELS), "JPEG")))


def png_header(width: int, height: int) -> bytes:
    """A PNG of a few bytes that claims to be so large."""
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = b"IDAT" + zlib.compress(b"\0" * 1000)
    chunks = [struct.pack(">I", len(part) - 4) + part + struct.pack(">I", zlib.crc32(part)) for part in (body, data)]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


@pytest.mark.parametrize("size", [(30_000, 30_000), (4097, 1), (1, 4097), (4096, 4097), (2**31 - 1, 2**31 - 1)])
def test_an_image_bomb_is_refused_by_its_header(size: tuple[int, int]) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(ImageError, match="pixels|too large|not a JPEG"):
            decode(png_header(*size))
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(("limit", "most"), [("MAX_SIDE", 6), ("MAX_PIXELS", 30), ("IMAGE_BYTES", None)])
def test_the_limits_are_to_the_byte(monkeypatch, limit, most) -> None:
    content = encoded(Image.fromarray(PIXELS))
    most = len(content) if most is None else most
    monkeypatch.setattr(sys.modules["data.faces.decode"], limit, most)
    assert decode(content).shape == (6, 5, 3)
    monkeypatch.setattr(sys.modules["data.faces.decode"], limit, most - 1)
    with pytest.raises(ImageError):
        decode(content)


@pytest.mark.parametrize("format", ["GIF", "TIFF", "WEBP", "PPM"])
def test_other_formats_are_refused(format: str) -> None:
    with pytest.raises(ImageError, match="not a JPEG, PNG or BMP"):
        decode(encoded(Image.fromarray(PIXELS), format))


def test_an_animation_is_refused() -> None:
    frames = [Image.fromarray(PIXELS), Image.fromarray(255 - PIXELS)]
    with pytest.raises(ImageError, match="more than one frame"):
        decode(encoded(frames[0], save_all=True, append_images=frames[1:]))


@pytest.mark.parametrize("format", ["PNG", "JPEG", "BMP"])
def test_a_truncated_image_is_an_error_not_half_a_picture(face, format: str) -> None:
    content = face(0, 64, 64, format)
    for length in range(0, len(content) - 16, max(1, len(content) // 100)):
        with pytest.raises(ImageError):
            decode(content[:length])


@pytest.mark.parametrize("content", [b"", b"\xff\xd8\xff", b"GIF89a", b"\0" * 100, b"text"])
def test_what_is_no_image_is_an_image_error(content: bytes) -> None:
    with pytest.raises(ImageError):
        decode(content)


def test_importing_the_faces_does_not_import_pillow() -> None:
    code = "import sys, data, data.faces; sys.exit('PIL' in sys.modules)"
    root = Path(__file__).parents[3]
    assert subprocess.run([sys.executable, "-c", code], cwd=root, timeout=60).returncode == 0
