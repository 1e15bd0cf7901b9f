"""Identities of CASIA-WebFace that are also in a test set. There is no official list."""

from pathlib import Path

from lsoftmax.errors import UserError

from .text import numbered, read_lines

SF3 = ("0166921", "1056413", "1193098")
# happynear/FaceDatasets, CASIA/webface_lfw_overlap.txt
HN16 = (
    *SF3,
    *("0000513", "0004763", "0005009", "0005082", "0005172", "0208962", "0454042"),
    *("0662519", "0706787", "0955471", "1091782", "1303492", "3478560"),
)
# the same repository's ..._detail.txt; of 3478560 and 0430107 it is said that they are other people of the same name
HN17 = (*(name for name in HN16 if name not in ("0454042", "0706787")), "0004539", "0430107", "2425974")
# both; removing one in error costs one class of 10,575
UNION19 = (*HN16, *HN17[-3:])
# happynear/FaceDatasets, CASIA/webface_facescrub_overlap.txt: of the 80 probe identities of MegaFace
FACESCRUB42 = (
    *("0000105", "0000202", "0000396", "0000447", "0000460", "0000529", "0000662", "0000664", "0001002", "0001624"),
    *("0001664", "0003115", "0004294", "0005102", "0005188", "0005342", "0088144", "0100792", "0100866", "0111013"),
    *("0113158", "0119003", "0121605", "0221043", "0247143", "0262635", "0376540", "0386472", "0405103", "0413168"),
    *("0460694", "0484678", "0534635", "0799777", "0881631", "0911320", "1065664", "1072555", "1132359", "1423270"),
    *("1842439", "3229685"),
)
LISTS = {"sf3": SF3, "hn16": HN16, "hn17": HN17, "union19": UNION19, "facescrub": FACESCRUB42, "none": ()}

# Labels in a copy of 10,572 identities without ids, if they follow the sorted ids without SF3: plausible, unverified.
PRESUMED_CLASSES = 10_572
PRESUMED_LABELS = {
    **{"0000513": 176, "0004539": 832, "0004763": 871, "0005009": 996, "0005082": 1030, "0005172": 1076},
    **{"0208962": 2144, "0430107": 3065, "0454042": 3159, "0662519": 4025, "0706787": 4183, "0955471": 5177},
    **{"1091782": 5522, "1303492": 6061, "2425974": 8455, "3478560": 9770},
}


def excluded(text: str) -> set[str]:
    """Identities from "union19", "union19,facescrub", or the path of a file with one identity a line."""
    names: set[str] = set()
    for word in _words(text):
        if word in LISTS:
            names.update(LISTS[word])
        elif Path(word).expanduser().is_file():
            names.update(line.split()[0] for _, line in numbered(read_lines(word)))
        else:
            raise UserError(f"exclude={word}: neither a file nor one of {', '.join(LISTS)}")
    return names


def unranked(text: str) -> dict[str, int]:
    """Word of `text` -> how many of its people have no presumed label. SF3 need none: they are not in that copy."""
    counts = {word: len(excluded(word) - PRESUMED_LABELS.keys() - set(SF3)) for word in _words(text)}
    return {word: count for word, count in counts.items() if count}


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]
