"""Lists of five landmarks: in any form, the same points."""

import numpy as np
import pytest

from data.faces.landmarks import face_like, read_landmarks
from data.faces.sources import open_source
from data.faces.templates import SPHEREFACE
from lsoftmax.errors import UserError

FACES = SPHEREFACE + np.arange(6)[:, None, None] * 3


def lines(faces: np.ndarray, form: str, files: dict[str, bytes]) -> str:
    text = ""
    for name, five in zip(files, faces, strict=True):
        inter, apart = (" ".join(f"{value:.4f}" for value in order.ravel()) for order in (five, five.T))
        text += {
            "interleaved": f"{name} {inter}\n",
            "apart": f"{name} {apart}\n",
            "sfpt": f"{name}\t" + "\t".join(inter.split()) + "\n",
            "sfpt casia": f"{name}\t12\t" + "\t".join(inter.split()) + "\n",
            "with box": f"{name} 1 2 3 4 {apart}\n",
            "csv": f"{name}," + ",".join(inter.split()) + "\n",
            "insightface": f"0\t{name}\t5\t1\t2\t3\t4\t" + "\t".join(apart.split()) + "\n",
            "celeba": f"{name}   " + "   ".join(inter.split()) + "\n",
        }[form]
    return "6\nlefteye_x lefteye_y ...\n" + text if form == "celeba" else text


@pytest.mark.parametrize(
    "form", ["interleaved", "apart", "sfpt", "sfpt casia", "with box", "csv", "insightface", "celeba"]
)
def test_landmarks_in_any_form_are_the_same_points(tmp_path, files, form) -> None:
    (tmp_path / "landmarks.txt").write_text(lines(FACES, form, files))
    found = read_landmarks(tmp_path / "landmarks.txt")
    assert found.names == list(files)
    np.testing.assert_allclose(found.points, FACES, atol=1e-4)


@pytest.mark.parametrize("shape", [(6, 5, 2), (6, 10)])
def test_landmarks_of_an_npz_are_the_same_points(tmp_path, files, shape) -> None:
    np.savez(tmp_path / "x.npz", names=np.array(list(files)), landmarks=FACES.reshape(shape).astype(np.float32))
    np.testing.assert_allclose(read_landmarks(tmp_path / "x.npz").points, FACES, atol=1e-4)


def test_landmarks_are_given_to_the_images_they_name(folder, tmp_path, files) -> None:
    part = dict(list(files.items())[:4])
    (tmp_path / "l.txt").write_text(lines(FACES[:4], "interleaved", part).replace("0000", "casia/0000"))
    catalogue = open_source(folder, landmarks=str(tmp_path / "l.txt"))
    np.testing.assert_allclose(catalogue.landmarks[:4], FACES[:4], atol=1e-4)
    assert np.isnan(catalogue.landmarks[4:]).all()
    assert any("of 4 of 6 images" in note for note in catalogue.notes)


def test_swapped_eyes_are_refused(tmp_path, files) -> None:
    (tmp_path / "l.txt").write_text(lines(FACES[:, [1, 0, 2, 4, 3]], "interleaved", files))
    with pytest.raises(UserError, match=r"only 0% of the faces .* left eye, right eye"):
        read_landmarks(tmp_path / "l.txt")


def test_a_line_without_five_landmarks_is_named(tmp_path, files) -> None:
    (tmp_path / "l.txt").write_text(lines(FACES, "interleaved", files) + "a/1.jpg 1 2 3\n")
    with pytest.raises(UserError, match="line 7: .* no image with five landmarks"):
        read_landmarks(tmp_path / "l.txt")


def test_a_damaged_first_line_is_named_too(tmp_path, files) -> None:
    (tmp_path / "l.txt").write_text("0000045/001.jpg 30 51 65\n" + lines(FACES, "interleaved", files))
    with pytest.raises(UserError, match="line 1: .* no image with five landmarks"):
        read_landmarks(tmp_path / "l.txt")


def test_of_two_lines_for_an_image_the_first_counts(folder, tmp_path, files) -> None:
    (tmp_path / "l.txt").write_text(lines(FACES, "interleaved", files) + lines(FACES + 1, "interleaved", files))
    catalogue = open_source(folder, landmarks=str(tmp_path / "l.txt"))
    np.testing.assert_allclose(catalogue.landmarks, FACES, atol=1e-4)
    assert any("of 6 of 6 images" in note for note in catalogue.notes)


def test_landmarks_of_other_images_are_an_error(folder, tmp_path, files) -> None:
    (tmp_path / "l.txt").write_text(lines(FACES, "interleaved", {f"x/{k}.jpg": b"" for k in range(6)}))
    with pytest.raises(UserError, match="names none of the images"):
        open_source(folder, landmarks=str(tmp_path / "l.txt"))


def test_an_npz_of_objects_is_refused(tmp_path) -> None:
    np.savez(tmp_path / "x.npz", names=np.array(["a", None], dtype=object), landmarks=FACES[:2])
    with pytest.raises(UserError, match="cannot be read"):
        read_landmarks(tmp_path / "x.npz")


def test_face_like_is_as_defined() -> None:
    assert face_like(SPHEREFACE[None]).all()
    assert not face_like(SPHEREFACE[None] * [1, -1]).any()  # upside down
    assert not face_like(SPHEREFACE[None] * [-1, 1]).any()  # mirrored
