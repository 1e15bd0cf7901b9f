"""An export's card: what the network is, how its faces were aligned, at what it was verified."""

import pytest
import torch

from data.faces.crop import Crop


@pytest.mark.parametrize(
    ("made", "parts"),
    [
        (None, ["112 x 96 (rows x columns); how those were is not known here."]),
        (Crop(align="none"), ["how those were is not known here."]),
        (
            Crop(),
            [
                "by umeyama, the",
                "| left eye | 30.2946 | 51.6963 |",
                "| right corner of the mouth | 62.7299 | 92.2041 |",
            ],
        ),
        (Crop(align="fixed"), ["by fixed, one cut for all images of 250 x 250", "| nose tip | 48.0252 | 71.7366 |"]),
    ],
)
def test_the_card_of_a_face_run_says_how_its_faces_were_aligned(run_of, made, parts):
    from scripts._model_card import card
    from scripts._network import open_network

    metadata = {} if made is None else {"preparation": made.describe()}
    options = ["model=face_narrow", "model.width=0.0625"]
    run = run_of((3, 112, 96), torch.full((3, 1, 1), 127.5), *options, metadata=metadata)
    text = card(open_network(run), {})
    assert all(part in text for part in parts) and "\n\n## Data" in text


def test_the_card_says_what_faces_were_verified_at_and_leaves_out_what_is_no_number():
    from scripts._model_card import _numbers

    found = {"lfw": {"accuracy": 0.985, "eer": "low"}, "cfp_fp": None}
    text = _numbers({"test_error": "low", "val_error": None, "steps": 20, "verification": found})
    assert "| verification on lfw: accuracy (%) | 98.5 |" in text and "| training steps | 20 |" in text
    assert "low" not in text and "eer" not in text and "cfp_fp" not in text
