"""The work of packing, in parts that are done in any order by any number of processes, and written down when done."""

import json
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, field
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from lsoftmax.errors import UserError
from lsoftmax.files import cannot_write

from .crop import Crop, Landmarks, NoFace, Remarks
from .decode import ImageError
from .detector import Detector
from .image_file import ImageFile

PART = 256  # images: 8 MB
SAMPLE = 1000  # images whose colour is looked at
COMMIT_SECONDS = 2.0


@dataclass
class Work:
    """What every worker has to know: N images, and where their crops go."""

    keys: Sequence[Any]  # (N,) what `read` takes
    read: Callable[[Any], bytes]
    crop: Crop
    target: ImageFile
    landmarks: np.ndarray | None = None  # (N, 5, 2)
    detector: Detector | None = None

    @property
    def parts(self) -> int:
        return -(-len(self.keys) // PART)

    @cached_property
    def buffer(self) -> np.ndarray:
        """One part's images; made once, in the process that uses it."""
        return np.empty((PART, *self.target.shape), np.uint8)

    def rows(self, part: int) -> range:
        return range(part * PART, min((part + 1) * PART, len(self.keys)))


@dataclass
class Done:
    """What is known of a part that has been written."""

    part: int
    sha256: str  # of the encoded images
    corrupt: list[tuple[int, str]] = field(default_factory=list)  # row, reason
    faceless: list[tuple[int, str]] = field(default_factory=list)
    remarks: dict[str, int] = field(default_factory=dict)
    colour: list[float] = field(default_factory=lambda: [0.0, 0.0, 0.0])  # sums of the channels' means
    sampled: int = 0


def do_part(work: Work, part: int) -> Done:
    """Read, decode, align and write one part."""
    rows = work.rows(part)
    images = work.buffer[: len(rows)]  # what is skipped keeps other pixels, until its row is dropped
    done, remarks, digest = Done(part, ""), Remarks(), sha256()
    every = max(1, len(work.keys) // SAMPLE)
    for position, row in enumerate(rows):
        landmarks: Landmarks = work.detector if work.landmarks is None else work.landmarks[row]
        try:
            content = work.read(work.keys[row])
            digest.update(content)
            pixels = work.crop(content, landmarks, remarks)
        except NoFace as error:
            done.faceless.append((row, str(error)))
            continue
        except ImageError as error:
            done.corrupt.append((row, str(error)))
            continue
        images[position] = pixels.transpose(2, 0, 1)
        if row % every == 0:
            done.colour = [a + b for a, b in zip(done.colour, _colour(pixels), strict=True)]
            done.sampled += 1
    try:
        work.target.write(rows[0], images)
    except OSError as error:
        raise cannot_write(work.target.path, error) from None
    done.sha256, done.remarks = digest.hexdigest(), dict(remarks)
    return done


def _colour(pixels: np.ndarray) -> list[float]:
    """Mean level of each channel, over every fourth row and column."""
    levels: list[float] = pixels[::4, ::4].mean(axis=(0, 1)).tolist()
    return levels


def do_parts(work: Work, parts: Sequence[int], workers: int) -> Generator[Done, None, None]:
    """The parts as they are done. UserError if a worker dies."""
    if workers == 1:
        yield from (do_part(work, part) for part in parts)
        return
    method = "fork" if "fork" in multiprocessing.get_all_start_methods() else "spawn"
    context = multiprocessing.get_context(method)
    pool = ProcessPoolExecutor(workers, context, initializer=_start, initargs=(work, os.getpid()))
    waiting, running = iter(parts), set[Future[Done]]()
    try:
        while True:
            while len(running) < 3 * workers and (following := next(waiting, None)) is not None:
                running.add(pool.submit(_do_in_worker, following))
            if not running:
                return
            finished, running = wait(running, return_when=FIRST_COMPLETED)
            for future in finished:
                yield future.result()
    except BrokenProcessPool:
        raise UserError("a worker has died, for want of memory perhaps; try fewer (workers=)") from None
    finally:
        pool.shutdown(cancel_futures=True)


_work: Work | None = None  # of a worker process


def _start(work: Work, owner: int) -> None:
    global _work
    _work = work
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the owner gets it too, and says what to do
    threading.Thread(target=_end_with, args=(owner,), daemon=True).start()


def _end_with(owner: int) -> None:
    """A worker does not outlive its owner, however that one was killed."""
    while os.getppid() == owner:
        time.sleep(0.5)
    os._exit(1)


def _do_in_worker(part: int) -> Done:
    assert _work is not None
    return do_part(_work, part)


class Journal:
    """The parts that are done, a line each; a line is written after its part has reached the disk."""

    def __init__(self, path: Path, target: ImageFile) -> None:
        self._path = path
        self._target = target
        self._pending: list[Done] = []
        self._last = time.monotonic()
        self.done = {part.part: part for part in self._read()}

    def add(self, done: Done) -> None:
        self.done[done.part] = done
        self._pending.append(done)
        if time.monotonic() - self._last > COMMIT_SECONDS:
            self.commit()

    def commit(self) -> None:
        try:
            if self._pending:
                self._target.flush()
                with open(self._path, "a") as file:
                    file.writelines(json.dumps(asdict(done)) + "\n" for done in self._pending)
                    file.flush()
                    os.fsync(file.fileno())
        except OSError as error:
            raise cannot_write(self._path, error) from error
        self._pending, self._last = [], time.monotonic()

    def _read(self) -> list[Done]:
        """What is written whole; half a line at the end is cut off."""
        if not self._path.exists():
            return []
        if not self._target.path.exists():  # of what it tells nothing is left
            self._path.unlink()
            return []
        content = self._path.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]
        if len(whole) < len(content):
            os.truncate(self._path, len(whole))
        try:
            return [Done(**json.loads(line)) for line in whole.splitlines()]
        except (ValueError, TypeError):
            raise UserError(f"{self._path} is damaged; delete {self._path.parent} to start anew") from None
