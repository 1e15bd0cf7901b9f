"""CASIA-WebFace, or any faces that scripts/prepare_faces.py has packed: to train on, and people held out of it."""

import torch

from lsoftmax.errors import UserError

from ..mapped import MappedSet
from ..request import Request
from ..sets import ImageSet, Splits
from ..split import take_classes
from .hold_out import HELD_OUT, pairs_of, take_people, take_test_images
from .packed import PackedFaces
from .verification import read_test_pairs

FOLDER = "webface"


def read(request: Request) -> Splits:
    """The pack in `folder`, by default ROOT/webface; its images stay in the file, its people are the classes.

    validation: so many people with two images or more are held out. They are no classes: the network is verified on
        pairs of them, and whatever is chosen is chosen by that.
    test_images: so many images of the others, at most one a person, are held out for test_error, which is therefore
        an error of closed-set identification; None takes one of every tenth person who has two.
    classes, first_class: of those who are left, only so many, from that one on.
    verify: sets to verify the finished network on, see `read_test_pairs`.
    """
    pack = PackedFaces(request.root / FOLDER if request.folder is None else request.folder)
    if pack.num_classes < 2:
        raise UserError(f"{pack.folder}: {pack.num_classes} people are too few to tell apart")
    rows = torch.arange(len(pack))
    people: ImageSet = MappedSet(pack.images, rows, torch.from_numpy(pack.labels), tuple(pack.classes))
    held_out = None
    if request.validation:
        people, strangers = take_people(people, request.validation)
        held_out = pairs_of(strangers, HELD_OUT)
    if request.classes is not None:
        people = take_classes(people, request.classes, request.first_class)
    pairs, notes = [], []
    for name in request.verify:
        found, said = read_test_pairs(request.root, name, pack.preparation)
        pairs.append(found)
        notes += said
    train, test = take_test_images(people, request.test_images)
    return Splits(train, None, test, held_out, tuple(pairs), tuple(notes), pack.preparation)
