"""Make a pack of a catalogue: everything is decided before the first image is decoded, and written in parts."""

import io
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from lsoftmax.errors import UserError
from lsoftmax.files import cannot_write, write_atomically, write_json

from .catalogue import Catalogue, digest
from .crop import Crop
from .detector import Detector
from .image_file import ImageFile
from .packed import FORMAT
from .parts import PART, Done, Journal, Work, do_parts
from .selection import Selection, large_enough, relabel
from .workplace import Workplace

MAX_FACELESS = 0.5
BLUE_OVER_RED = 5.0  # mean levels; no collection of faces is bluer than red


class Packing:
    """A pack in the making.

    Args:
        catalogue, selection: what is packed.
        out: the pack's folder. It appears when it is whole; until then out.part holds what is done.
        crop: how the faces are cut out; with `detector`, that finds the landmarks.
        options: how the selection was made; recorded.
        min_images: a person with fewer images, after what was skipped, is left out.
        max_corrupt: the share of images that may be corrupt.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        selection: Selection,
        out: Path,
        crop: Crop,
        *,
        options: dict[str, Any],
        detector: Detector | None = None,
        min_images: int = 1,
        max_corrupt: float = 0.001,
    ) -> None:
        self.catalogue, self.selection, self.crop, self.detector = catalogue, selection, crop, detector
        self.min_images, self.max_corrupt, self.options = min_images, max_corrupt, options
        rows = selection.rows
        self.names = [catalogue.names[row] for row in rows]
        self.plan = {
            "source": catalogue.fingerprint,
            "images": digest(self.names, selection.labels.tolist()),
            **crop.describe(),
            "swap_rb": crop.swap_rb,
            "options": options,
            "part": PART,
        }
        self.place = Workplace(out, self.plan)
        self.target = ImageFile(self.place.folder / "images.npy", len(rows), crop.size)

    def run(self, workers: int, progress: Callable[[int], object] = lambda images: None) -> dict[str, Any]:
        """Do what is left to do; returns the manifest. `progress` is told the number of images of every part.

        UserError if the disk is too small, too many images are corrupt, or no face is found in most. What is done
        stays: the same again goes on from there.
        """
        with self.place as place:
            journal = Journal(place.folder / "parts.jsonl", self.target)
            work = self._work()
            self._check(journal.done.values())
            todo = [part for part in range(work.parts) if part not in journal.done]
            place.check_space(self.target.row_bytes * sum(len(work.rows(part)) for part in todo))
            with self._disk_errors():
                self.target.create(anew=not journal.done)  # what nobody knows of is of another pack
            progress(sum(len(work.rows(part)) for part in journal.done))
            parts = do_parts(work, todo, workers)
            try:
                for done in parts:
                    journal.add(done)
                    progress(len(work.rows(done.part)))
                    if done.corrupt:
                        self._check(journal.done.values())
            finally:
                parts.close()
                journal.commit()
            return self._finish([journal.done[part] for part in range(work.parts)])

    @contextmanager
    def _disk_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise cannot_write(self.target.path, error) from None

    def _work(self) -> Work:
        rows, landmarks = self.selection.rows, self.catalogue.landmarks
        keys = [self.catalogue.keys[row] for row in rows]
        points = landmarks[rows] if landmarks is not None and self.crop.needs_landmarks else None
        return Work(keys, self.catalogue.read, self.crop, self.target, points, self.detector)

    def _check(self, parts: Iterable[Done]) -> None:
        corrupt = [entry for done in parts for entry in done.corrupt]
        if len(corrupt) > self.max_corrupt * len(self.names):
            path = self.place.folder / "corrupt.tsv"
            _write_lines(path, [f"{_one_line(self.names[row])}\t{_one_line(reason)}" for row, reason in corrupt])
            examples = "; ".join(f"{self.names[row]}: {reason}" for row, reason in corrupt[:3])
            raise UserError(
                f"{len(corrupt):,} of {len(self.names):,} images are corrupt, more than max_corrupt="
                f"{self.max_corrupt:g}: {examples} (all in {path}); a larger max_corrupt= skips them"
            )

    def _finish(self, parts: list[Done]) -> dict[str, Any]:
        corrupt = [entry for done in parts for entry in done.corrupt]
        faceless = [entry for done in parts for entry in done.faceless]
        if len(faceless) > MAX_FACELESS * len(self.names):
            row, reason = faceless[0]
            raise UserError(
                f"{len(faceless):,} of {len(self.names):,} images cannot be aligned, {self.names[row]}: {reason}"
            )
        reasons = dict([*corrupt, *faceless])
        keep = np.ones(len(self.names), dtype=bool)
        keep[list(reasons)] = False
        few = keep & ~large_enough(self.selection.labels, keep, self.min_images)
        keep &= ~few
        if not keep.any():
            raise UserError(f"no image is left; min_images={self.min_images} leaves nobody after what was skipped")
        reasons |= {int(row): f"of a person with fewer than {self.min_images} images" for row in np.flatnonzero(few)}
        left_out = [
            *self.catalogue.left_out,
            *self.selection.left_out,
            *((self.names[row], reasons[row]) for row in sorted(reasons)),
        ]
        with self._disk_errors():
            order = self.target.compact(keep)
        labels, classes = relabel(self.selection.labels[order], self.selection.classes)
        manifest = self._manifest(parts, labels, classes, left_out)
        self._write([self.names[row] for row in order], labels, left_out, manifest)
        self.place.finish()
        return manifest

    def _write(
        self, names: list[str], labels: np.ndarray, left_out: list[tuple[str, str]], manifest: dict[str, Any]
    ) -> None:
        folder = self.place.folder
        file = io.BytesIO()
        np.save(file, labels, allow_pickle=False)
        _write_bytes(folder / "labels.npy", file.getvalue())
        _write_lines(folder / "names.txt", names)
        _write_lines(folder / "left_out.tsv", [f"{_one_line(name)}\t{_one_line(reason)}" for name, reason in left_out])
        if self.selection.presumed:
            self._write_presumed(folder / "presumed")
        (folder / "corrupt.tsv").unlink(missing_ok=True)
        write_json(folder / "manifest.json", manifest)

    def _write_presumed(self, folder: Path) -> None:
        """One image of each person that is only presumed to be who was to be left out: look at them."""
        folder.mkdir(exist_ok=True)
        for name, label in self.selection.presumed.items():
            row = int(np.flatnonzero(self.catalogue.labels == label)[0])
            _write_bytes(folder / f"{name}.jpg", self.catalogue.read(self.catalogue.keys[row]))

    def _manifest(
        self, parts: list[Done], labels: np.ndarray, classes: list[str], left_out: list[tuple[str, str]]
    ) -> dict[str, Any]:
        counts, remarks = np.bincount(labels), Counter[str]()
        for done in parts:
            remarks.update(done.remarks)
        sampled = sum(done.sampled for done in parts)
        colour = [sum(done.colour[channel] for done in parts) / max(sampled, 1) for channel in range(3)]
        notes = [*self.catalogue.notes, *self.selection.notes]
        if colour[2] > colour[0] + BLUE_OVER_RED:
            notes.append(
                f"blue ({colour[2]:.0f}) is stronger than red ({colour[0]:.0f}) on average: they may be exchanged; "
                f"look at some images, and try swap_rb={str(not self.crop.swap_rb).lower()}"
            )
        return {
            "format": FORMAT,
            "images": len(labels),
            "identities": len(classes),
            "images_per_identity": {
                "min": int(counts.min()),
                "median": float(np.median(counts)),
                "max": int(counts.max()),
            },
            **self.crop.describe(),
            "swap_rb": self.crop.swap_rb,
            "mean_rgb": [round(level, 2) for level in colour],
            "source": {
                "kind": self.catalogue.kind,
                "name": Path(self.catalogue.path).name,
                "fingerprint": self.catalogue.fingerprint,
                "sha256": digest([done.sha256 for done in parts]),  # of the encoded images
            },
            "options": self.options,
            "excluded": self.selection.excluded,
            "left_out": dict(Counter(reason.split(" (")[0] for _, reason in left_out).most_common()),
            "remarks": dict(remarks),
            "notes": notes,
            "classes": classes,
            "plan": self.plan,
        }


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _write_lines(path: Path, lines: list[str]) -> None:
    _write_bytes(path, "".join(f"{line}\n" for line in lines).encode(errors="surrogateescape"))


def _write_bytes(path: Path, content: bytes) -> None:
    write_atomically(path, lambda file: file.write(content))
