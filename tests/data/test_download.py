"""Downloads without a network: torchvision's part is played by stand-ins, or by a file:// mirror."""

import hashlib
import http.server
import io
import os
import socket
import sys
import threading
import urllib.error
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest

import data
from data import download
from lsoftmax.errors import UserError

FILES = ["set/one", "set/two"]


def play(monkeypatch: pytest.MonkeyPatch, action) -> None:
    """Let `action(folder)` stand in for torchvision's class `Fake`."""
    datasets = SimpleNamespace(Fake=lambda folder, download: action(Path(folder)))
    monkeypatch.setattr(download, "_import_datasets", lambda: datasets)


def write(folder: Path, *names: str) -> None:
    (folder / "set").mkdir()
    for name in names:
        (folder / "set" / name).write_text(f"downloaded {name}")


def fetch(root: Path) -> None:
    download.ensure_files("Fake", root, FILES, download=True)


def test_files_arrive_and_nothing_else_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    play(monkeypatch, lambda folder: write(folder, "one", "two", "archive.tar.gz"))
    fetch(tmp_path / "new" / "root")
    found = sorted(path.name for path in (tmp_path / "new" / "root").rglob("*"))
    assert found == ["one", "set", "two"]


def test_what_is_there_is_neither_downloaded_nor_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    play(monkeypatch, lambda folder: write(folder, "one", "two"))
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "one").write_text("mine")
    fetch(tmp_path)
    assert (tmp_path / "set" / "one").read_text() == "mine"
    play(monkeypatch, lambda folder: pytest.fail("downloaded again"))
    fetch(tmp_path)


@pytest.mark.parametrize(
    "error",
    [
        urllib.error.URLError(OSError(-2, "Name or service not known")),
        RuntimeError("File not found or corrupted.\nTried a mirror\nTried another"),
        TimeoutError("timed out"),
        OSError(28, "No space left on device"),
        ImportError("No module named 'torchvision'"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_failed_download_is_one_line_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(folder: Path) -> None:
        write(folder, "one")  # the first of two files was whole
        raise error

    play(monkeypatch, fail)
    with pytest.raises(UserError, match="Fake could not be downloaded .*data_root=.*dataset=mnist5k") as caught:
        fetch(tmp_path)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_download_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(folder: Path) -> None:
        write(folder, "one")
        raise KeyboardInterrupt

    play(monkeypatch, interrupt)
    with pytest.raises(KeyboardInterrupt):
        fetch(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_root_that_cannot_be_made_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    play(monkeypatch, lambda folder: write(folder, "one", "two"))
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="could not be downloaded"):
        fetch(tmp_path / "file" / "root")


def test_progress_bars_stay_away_from_logs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def chatter(folder: Path) -> None:
        print("100%", file=sys.stderr)
        print("done")
        write(folder, "one", "two")

    play(monkeypatch, chatter)
    fetch(tmp_path)
    assert capfd.readouterr() == ("", f"downloading Fake to {tmp_path}\n")


def test_a_terminal_shows_progress(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = io.StringIO()
    terminal.isatty = lambda: True  # type: ignore[method-assign]
    monkeypatch.setattr(sys, "stderr", terminal)
    play(monkeypatch, lambda folder: (print("50%", file=sys.stderr), write(folder, "one", "two")))
    fetch(tmp_path)
    assert "50%" in terminal.getvalue()


def test_a_silent_server_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    timeouts = []
    play(monkeypatch, lambda folder: (timeouts.append(socket.getdefaulttimeout()), write(folder, "one", "two")))
    before = socket.getdefaulttimeout()
    fetch(tmp_path)
    assert timeouts == [20.0]
    assert socket.getdefaulttimeout() == before


def test_torchvision_offline_is_one_line_for_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*args: object, **kwargs: object) -> None:
        raise OSError(-3, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", offline)
    for variable in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.delenv(variable, raising=False)
    for name in ("mnist", "cifar10", "cifar100"):
        with pytest.raises(UserError, match="could not be downloaded .*name resolution") as caught:
            data.load(name, tmp_path)
        assert "\n" not in str(caught.value)
    assert os.listdir(tmp_path) == []


@pytest.fixture
def mirror(real_root: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a server on this machine that has MNIST, packed."""
    folder = real_root / "MNIST" / "raw"
    if not (folder / "train-images-idx3-ubyte.gz").exists():
        pytest.skip("needs the .gz files beside the unpacked ones")

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Nothing on stderr."""

    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=folder)) as server:
        threading.Thread(target=server.serve_forever).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def test_torchvision_downloads_a_whole_mnist(
    mirror: str, real_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    # The same files may have been packed anew: the checksums of the packed ones are those found here.
    packed = sorted((real_root / "MNIST" / "raw").glob("*.gz"))
    resources = [(path.name, hashlib.md5(path.read_bytes()).hexdigest()) for path in packed]
    monkeypatch.setattr(download._import_datasets().MNIST, "resources", resources)
    monkeypatch.setattr(download._import_datasets().MNIST, "mirrors", [mirror])
    downloaded = data.load("mnist", tmp_path)
    assert capfd.readouterr() == ("", f"downloading MNIST to {tmp_path}\n")
    assert downloaded.sha256() == data.load("mnist", real_root, download=False).sha256()
    assert os.listdir(tmp_path) == ["MNIST"]


def test_a_long_reason_is_cut() -> None:
    said = download._one_line(RuntimeError("x" * 500))
    assert len(said) == 200 and said.endswith("...")
