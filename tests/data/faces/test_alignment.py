"""The fits against golden values, the SVD of Umeyama's paper and least squares; the warp against its definition."""

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from data.faces import ImageError
from data.faces.crop import Crop, NoFace, Remarks
from data.faces.similarity import apply, cp2tform, rms_residual, umeyama
from data.faces.templates import ARCFACE, MEAN_LFW, SPHEREFACE, parse_size
from data.faces.warp import warp
from lsoftmax.errors import UserError

ECKHART = np.array([[107, 107], [147, 111], [124, 143], [103, 157], [139, 161]], dtype=float)
points = st.lists(st.floats(-300, 300), min_size=10, max_size=10).map(lambda values: np.reshape(values, (5, 2)))


def by_svd(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    """Umeyama 1991, equations 38 to 43."""
    centre, target = p.mean(0), q.mean(0)
    u, sigma, vt = np.linalg.svd((q - target).T @ (p - centre) / len(p))
    d = np.diag([1.0, np.sign(np.linalg.det(u) * np.linalg.det(vt))])
    scale = np.trace(np.diag(sigma) @ d) / ((p - centre) ** 2).sum(1).mean()
    linear = scale * u @ d @ vt
    return np.column_stack([linear, target - linear @ centre])


def test_golden_umeyama() -> None:
    matrix = umeyama(ECKHART, SPHEREFACE)
    golden = [[0.802190, 0.096208, -64.510486], [-0.096208, 0.802190, -25.106902]]
    np.testing.assert_allclose(matrix, golden, atol=6e-7)
    assert rms_residual(matrix, ECKHART, SPHEREFACE) == pytest.approx(3.1205, abs=5e-5)


def test_golden_cp2tform() -> None:
    matrix = cp2tform(ECKHART, SPHEREFACE)
    golden = [[0.816910, 0.097973, -66.575413], [-0.097973, 0.816910, -26.886889]]
    np.testing.assert_allclose(matrix, golden, atol=6e-7)
    assert rms_residual(matrix, ECKHART, SPHEREFACE) == pytest.approx(3.1490, abs=5e-5)


@pytest.mark.parametrize("fit", [umeyama, cp2tform])
def test_the_wider_template_only_moves_the_face_by_8(fit) -> None:
    np.testing.assert_allclose(fit(ECKHART, ARCFACE) - fit(ECKHART, SPHEREFACE), [[0, 0, 8], [0, 0, 0]], atol=1e-10)


def test_golden_fixed_crop() -> None:
    golden = np.array([[0.88016, -0.00889, -60.9283], [0.00889, 0.88016, -47.9624]])
    fixed = umeyama(MEAN_LFW, SPHEREFACE)
    # The means are given to 0.01 px.
    np.testing.assert_allclose(apply(fixed, MEAN_LFW), apply(golden, MEAN_LFW), atol=0.01)


@given(points, st.booleans())
def test_umeyama_is_that_of_the_singular_values(p, mirrored) -> None:
    q = SPHEREFACE * ([-1, 1] if mirrored else [1, 1])
    if (p.std(axis=0) < 1).any():
        return
    singular = np.linalg.svd((q - q.mean(0)).T @ (p - p.mean(0)))[1]
    if singular[0] - singular[1] < 1e-3 * singular[0]:  # then the rotation is not determined
        return
    np.testing.assert_allclose(umeyama(p, q), by_svd(p, q), rtol=1e-6, atol=1e-6)


@given(st.floats(-3.14, 3.14), st.floats(0.1, 10), st.floats(-200, 200), st.floats(-200, 200))
def test_an_exact_similarity_is_found_by_both(angle, scale, x, y) -> None:
    linear = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    moved = SPHEREFACE @ linear.T + [x, y]
    for fit in (umeyama, cp2tform):
        np.testing.assert_allclose(apply(fit(moved, SPHEREFACE), moved), SPHEREFACE, atol=1e-8)


def test_only_cp2tform_returns_a_reflection() -> None:
    mirrored = SPHEREFACE * [-1, 1] + [200, 0]
    assert np.linalg.det(cp2tform(mirrored, SPHEREFACE)[:, :2]) < 0
    np.testing.assert_allclose(apply(cp2tform(mirrored, SPHEREFACE), mirrored), SPHEREFACE, atol=1e-9)
    assert np.linalg.det(umeyama(mirrored, SPHEREFACE)[:, :2]) > 0
    assert rms_residual(umeyama(mirrored, SPHEREFACE), mirrored, SPHEREFACE) > 20


@given(points)
def test_cp2tform_is_the_inverse_of_the_better_least_squares_fit(p) -> None:
    """MATLAB's own equations: [x y 1 0; y -x 0 1] r = X, for the points and for the mirrored ones."""
    if np.linalg.matrix_rank(p - p.mean(0), tol=1.0) < 2:
        return

    def fit(uv: np.ndarray, xy: np.ndarray) -> np.ndarray:
        x, y, one, zero = xy[:, 0], xy[:, 1], np.ones(5), np.zeros(5)
        rows = np.vstack([np.column_stack([x, y, one, zero]), np.column_stack([y, -x, zero, one])])
        sc, ss, tx, ty = np.linalg.lstsq(rows, np.concatenate([uv[:, 0], uv[:, 1]]), rcond=None)[0]
        return np.linalg.inv(np.array([[sc, -ss, 0], [ss, sc, 0], [tx, ty, 1]]))

    try:
        plain, mirrored = fit(p, SPHEREFACE), fit(p, SPHEREFACE * [-1, 1]) @ np.diag([-1, 1, 1])
    except np.linalg.LinAlgError:
        return
    homogeneous = np.column_stack([p, np.ones(5)])
    distances = [np.linalg.norm((homogeneous @ m)[:, :2] - SPHEREFACE) for m in (plain, mirrored)]
    if abs(distances[0] - distances[1]) < 1e-6 * max(distances) or max(distances) > 1e5:
        return
    wanted = (plain, mirrored)[int(np.argmin(distances))][:, :2].T
    np.testing.assert_allclose(cp2tform(p, SPHEREFACE), wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("bad", [np.zeros((5, 2)), np.full((5, 2), 3.0), np.full((5, 2), np.nan), np.zeros((5, 3))])
@pytest.mark.parametrize("fit", [umeyama, cp2tform])
def test_points_that_are_no_face_are_a_value_error(fit, bad) -> None:
    with pytest.raises((ValueError, np.linalg.LinAlgError)):
        fit(bad, SPHEREFACE)


def defined(image: np.ndarray, matrix: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Bilinear sampling at inverse(matrix), one pixel after the other, 0 outside; not rounded."""
    inverse = np.linalg.inv(np.vstack([matrix, [0, 0, 1]]))
    padded = np.pad(image.astype(float), ((1, 1), (1, 1), (0, 0)))
    crop = np.zeros((*size, 3))
    for y in range(size[0]):
        for x in range(size[1]):
            u, v, _ = inverse @ [x, y, 1] + [1, 1, 0]
            i, j = int(np.floor(v)), int(np.floor(u))
            if 0 <= i < padded.shape[0] - 1 and 0 <= j < padded.shape[1] - 1:
                a, b = v - i, u - j
                upper = (1 - b) * padded[i, j] + b * padded[i, j + 1]
                lower = (1 - b) * padded[i + 1, j] + b * padded[i + 1, j + 1]
                crop[y, x] = (1 - a) * upper + a * lower
    return crop


@pytest.mark.parametrize(
    ("degrees", "scale", "shift"), [(0, 1, 0), (0, 1, 3.25), (20, 0.8, -5), (-35, 1.7, 9), (90, 0.3, 12)]
)
def test_the_warp_is_bilinear_sampling_with_black_outside(degrees, scale, shift) -> None:
    image = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    angle = np.deg2rad(degrees)
    linear = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix = np.column_stack([linear, [shift, -shift / 2]])
    found = np.asarray(warp(Image.fromarray(image), matrix, (30, 28))).astype(float)
    wanted = defined(image, matrix, (30, 28))
    assert (wanted > 0).any()
    assert (wanted - found).min() >= -1e-6 and (wanted - found).max() <= 1.001  # rounded down


def test_the_identity_changes_nothing() -> None:
    image = np.random.default_rng(0).integers(0, 256, (112, 96, 3), dtype=np.uint8)
    assert np.array_equal(np.asarray(warp(Image.fromarray(image), np.eye(3)[:2], (112, 96))), image)


def png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def dotted(landmarks: np.ndarray) -> bytes:
    """A black picture with a white blot at each landmark."""
    pixels = np.zeros((250, 250, 3), np.uint8)
    for x, y in np.round(landmarks).astype(int):
        pixels[y - 2 : y + 3, x - 2 : x + 3] = 255
    return png(pixels)


@pytest.mark.parametrize("size", [(112, 96), (112, 112)])
@pytest.mark.parametrize("align", ["umeyama", "cp2tform"])
def test_the_landmarks_come_to_lie_on_the_template(size, align) -> None:
    landmarks = SPHEREFACE * 0.9 + [80, 70]
    crop = Crop(size, align)(dotted(landmarks), landmarks)
    assert crop.shape == (*size, 3)
    for x, y in SPHEREFACE + [8 if size == (112, 112) else 0, 0]:
        assert crop[round(y), round(x), 0] > 200


def test_the_fixed_crop_puts_the_mean_face_there_and_wants_250_x_250() -> None:
    crop = Crop((112, 96), "fixed")(dotted(MEAN_LFW))
    assert all(crop[round(y), round(x), 0] > 200 for x, y in SPHEREFACE)
    with pytest.raises(ImageError, match="250 x 250"):
        Crop((112, 96), "fixed")(png(np.zeros((112, 96, 3), np.uint8)))


def test_aligned_images_are_taken_as_they_are() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (112, 112, 3), dtype=np.uint8)
    remarks = Remarks()
    assert np.array_equal(Crop((112, 112), "none")(png(pixels), remarks=remarks), pixels)
    assert np.array_equal(Crop((112, 96), "none")(png(pixels), remarks=remarks), pixels[:, 8:104])
    assert np.array_equal(Crop((112, 96), "none")(png(pixels[:, :96]), remarks=remarks), pixels[:, :96])
    assert not remarks


def test_other_sizes_are_scaled_and_remarked() -> None:
    remarks = Remarks()
    assert Crop((112, 96), "none")(png(np.zeros((250, 250, 3), np.uint8)), remarks=remarks).shape == (112, 96, 3)
    assert remarks == {"of another size than 112 x 96, scaled": 1}


@pytest.mark.parametrize("size", [(112, 96), (112, 112)])
def test_images_of_every_size_are_scaled(size) -> None:
    for rows, columns in [*((side, side) for side in range(20, 513)), (60, 255), (255, 60), (97, 110)]:
        image = Image.new("RGB", (columns, rows))
        assert Crop(size, "none")._as_it_is(image, Remarks()).size == size[::-1]


@pytest.mark.parametrize(("rows", "columns"), [(212, 96), (112, 296)])
def test_of_other_shapes_the_middle_is_taken(rows: int, columns: int) -> None:
    image = np.zeros((rows, columns, 3), np.uint8)
    top, left = (rows - 112) // 2, (columns - 96) // 2
    image[top : top + 112, left : left + 96] = 255
    assert Crop((112, 96), "none")(png(image)).min() == 255


def test_scaling_blends_neighbours() -> None:
    stripes = np.tile(np.array([0, 255], np.uint8)[:, None], (224, 96, 3))
    middle = Crop((112, 96), "none")(png(stripes))[:, 8:-8]
    assert middle.min() > 100 and middle.max() < 155


def test_exchanged_colours_are_rgb_afterwards() -> None:
    assert Crop(swap_rb=True).describe() == Crop().describe()


def test_an_orientation_of_the_camera_is_remarked() -> None:
    exif, file, remarks = Image.Exif(), io.BytesIO(), Remarks()
    exif[0x0112] = 6
    Image.fromarray(np.zeros((112, 96, 3), np.uint8)).save(file, "PNG", exif=exif)
    Crop(align="none")(file.getvalue(), remarks=remarks)
    assert remarks == {"EXIF orientation ignored": 1}


def test_swap_rb_exchanges_red_and_blue() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (112, 96, 3), dtype=np.uint8)
    assert np.array_equal(Crop(align="none", swap_rb=True)(png(pixels)), pixels[..., [2, 1, 0]])


def test_swapped_eyes_are_refused_with_a_hint() -> None:
    swapped = ECKHART[[1, 0, 2, 4, 3]]
    with pytest.raises(ImageError, match="order left eye"):
        Crop()(dotted(ECKHART), swapped)


def test_landmarks_may_miss_a_face_by_20_pixels_and_no_more() -> None:
    def swapped(share: float) -> np.ndarray:
        return SPHEREFACE + share * (SPHEREFACE[[1, 0, 2, 4, 3]] - SPHEREFACE) + 50

    Crop()(dotted(SPHEREFACE + 50), swapped(0.7))  # 19.3 px
    with pytest.raises(NoFace, match="landmarks miss a face by 21 px"):
        Crop()(dotted(SPHEREFACE + 50), swapped(0.85))


@pytest.mark.parametrize(("align", "times"), [("umeyama", 1e7), ("cp2tform", 1e7), ("cp2tform", 1e200)])
def test_landmarks_far_apart_are_no_face(align, times) -> None:
    with np.errstate(all="ignore"), pytest.raises(NoFace):
        Crop(align=align)(png(np.zeros((250, 250, 3), np.uint8)), SPHEREFACE * times)


def test_landmarks_that_fit_badly_are_remarked() -> None:
    remarks = Remarks()
    bent = SPHEREFACE + [[0, 0], [0, 0], [35, 0], [0, 0], [0, 0]]
    Crop()(dotted(bent + 50), bent + 50, remarks)
    assert remarks == {"landmarks miss a face by over 10 px": 1}


@pytest.mark.parametrize("landmarks", [None, np.zeros((5, 2)), np.full((5, 2), np.inf)])
def test_missing_landmarks_are_an_image_error(landmarks) -> None:
    with pytest.raises(ImageError, match="landmarks"):
        Crop()(dotted(ECKHART), landmarks)


def test_sizes_are_rows_x_columns() -> None:
    assert parse_size("112x96") == (112, 96) and parse_size("112x112") == (112, 112)
    with pytest.raises(UserError, match="size=96x112: must be 112x96 or 112x112"):
        parse_size("96x112")
