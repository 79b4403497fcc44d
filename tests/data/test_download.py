"""Downloads without network: torchvision is replaced, or uses a server on 127.0.0.1."""

import gzip
import hashlib
import os
import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import idx
import pytest
from torchvision import datasets as torchvision_datasets
from waiting import PATIENCE_S

from mlplab.data import datasets, download
from mlplab.data.image_dataset import ImageDataset
from mlplab.errors import DataError

FILES = list(idx.FILES)
TIMEOUT_S = download.TIMEOUT_S


class MNIST:
    """Replacement of torchvision's class, which writes at once."""

    calls: list[Path]

    def __init__(self, root: Path, download: bool) -> None:
        assert download
        self.calls.append(root)
        for file in FILES:
            (root / "MNIST" / "raw" / file).write_text(f"new {file}")


class Offline(MNIST):
    def __init__(self, root: Path, download: bool) -> None:
        (root / "MNIST" / "raw" / FILES[0]).write_text("half a file")
        raise RuntimeError("Error downloading x:\nTried a, got: ...\nTried b, got: <urlopen error no network>")


Offline.__name__ = "MNIST"


class Silent(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MNIST, "calls", [], raising=False)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(download, "TIMEOUT_S", PATIENCE_S)


@pytest.fixture
def mirror(tmp_path: Path) -> Iterator[tuple[str, type]]:
    """A server with the archives of a tiny MNIST, and torchvision's own class, which uses this server."""
    served = tmp_path / "served"
    served.mkdir()
    resources = []
    for path in idx.write(tmp_path / "original").iterdir():
        archive = gzip.compress(path.read_bytes(), mtime=0)
        (served / f"{path.name}.gz").write_bytes(archive)
        resources.append((f"{path.name}.gz", hashlib.md5(archive).hexdigest()))
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Silent, directory=str(served))) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}/"
        yield url, type("MNIST", (torchvision_datasets.MNIST,), {"mirrors": [url], "resources": resources})
        server.shutdown()
        thread.join()


def _load(dataset: type, root: Path) -> ImageDataset:
    download.fetch(dataset, root, FILES)
    return datasets.load("mnist", root)


def _refusal(dataset: type, root: Path) -> str:
    with pytest.raises(DataError) as caught:
        download.fetch(dataset, root, FILES)
    return str(caught.value)


def test_torchvision_fetches_whole_files(mirror: tuple[str, type], tmp_path: Path) -> None:
    root = tmp_path / "data"
    assert len(_load(mirror[1], root).train_images) == 200
    folder = root / "MNIST" / "raw"
    assert sorted(path.name for path in folder.iterdir()) == sorted(FILES)
    for file in FILES:
        assert (folder / file).read_bytes() == (tmp_path / "original" / "MNIST" / "raw" / file).read_bytes()


def test_a_file_with_another_checksum_is_refused(mirror: tuple[str, type], tmp_path: Path) -> None:
    archive = tmp_path / "served" / f"{FILES[2]}.gz"
    archive.write_bytes(archive.read_bytes()[:-20])
    root = tmp_path / "data"
    assert "could not be downloaded: File not found or corrupted" in _refusal(mirror[1], root)
    assert not root.exists()


def test_only_missing_files_are_replaced(tmp_path: Path) -> None:
    folder = tmp_path / "MNIST" / "raw"
    folder.mkdir(parents=True)
    (folder / FILES[0]).write_text("mine")
    download.fetch(MNIST, tmp_path, FILES)
    assert (folder / FILES[0]).read_text() == "mine"
    assert [(folder / file).read_text() for file in FILES[1:]] == [f"new {file}" for file in FILES[1:]]
    assert sorted(path.name for path in folder.iterdir()) == sorted(FILES)


def test_without_a_network_it_says_where_to_copy_what(tmp_path: Path) -> None:
    refusal = _refusal(Offline, tmp_path)
    assert len(refusal.splitlines()) <= 5
    mirrors = torchvision_datasets.MNIST.mirrors
    for words in (str(tmp_path / "MNIST" / "raw"), "no network", *FILES, *mirrors, "MLPLAB_DATA", "data=digits"):
        assert words in refusal
    assert not (tmp_path / "MNIST").exists()


def test_what_a_killed_process_left_is_repaired(mirror: tuple[str, type], tmp_path: Path) -> None:
    """Leftovers are its lock file, half an archive, half a file, and half an archive of torchvision."""
    root = tmp_path / "data"
    folder, scratch = root / "MNIST" / "raw", root / ".MNIST.download" / "MNIST" / "raw"
    folder.mkdir(parents=True)
    scratch.mkdir(parents=True)
    (root / ".MNIST.lock").touch()
    archive = (tmp_path / "served" / f"{FILES[0]}.gz").read_bytes()
    for half in (scratch / f"{FILES[0]}.gz", folder / f"{FILES[0]}.gz"):
        half.write_bytes(archive[: len(archive) // 2])
    (scratch / FILES[1]).write_text("half a file")
    assert len(_load(mirror[1], root).train_images) == 200
    assert not (root / ".MNIST.download").exists()


def test_a_root_that_is_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("not a folder")
    assert str(tmp_path / "data") in _refusal(MNIST, tmp_path / "data")


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_silent_mirror_is_given_up(scheme: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The mirror accepts a connection, and never answers."""
    assert len(torchvision_datasets.MNIST.mirrors) * TIMEOUT_S < 30  # seconds
    monkeypatch.setattr(download, "TIMEOUT_S", 0.2)
    before = socket.getdefaulttimeout()
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"{scheme}://127.0.0.1:{server.getsockname()[1]}/"
        silent = type("MNIST", (torchvision_datasets.MNIST,), {"mirrors": [url, url]})
        refusal = _refusal(silent, tmp_path)
    assert "timed out" in refusal
    assert socket.getdefaulttimeout() == before


def test_a_mirror_that_talks_nonsense_is_given_up(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(10_000)
                connection.sendall(b"220 smtp.example ready\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}/"
        refusal = _refusal(type("MNIST", (torchvision_datasets.MNIST,), {"mirrors": [url]}), tmp_path)
        thread.join()
    assert "could not be downloaded: 220 smtp.example ready" in refusal


def test_of_five_at_once_one_fetches(tmp_path: Path) -> None:
    begun, all_started = threading.Event(), threading.Event()

    class Slow(MNIST):
        def __init__(self, root: Path, download: bool) -> None:
            begun.set()
            all_started.wait(PATIENCE_S)
            others[0].join(timeout=0.3)  # none of them is done before the first
            super().__init__(root, download)

    Slow.__name__ = "MNIST"
    first, *others = (threading.Thread(target=download.fetch, args=(Slow, tmp_path, FILES)) for _ in range(5))
    first.start()
    assert begun.wait(PATIENCE_S)
    for thread in others:
        thread.start()
    all_started.set()
    for thread in (first, *others):
        thread.join(PATIENCE_S)
        assert not thread.is_alive()
    assert len(MNIST.calls) == 1
    assert sorted(path.name for path in (tmp_path / "MNIST" / "raw").iterdir()) == sorted(FILES)


def test_without_files_a_mirror_is_asked_before_torch_is_there(
    mirror: tuple[str, type], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, nobody = tmp_path / "data", "http://127.0.0.1:9/"
    monkeypatch.setattr("mlplab.config.torch_signatures.mirrors", lambda dataset: (nobody, mirror[0]))
    download.require("mnist", root)
    monkeypatch.setattr("mlplab.config.torch_signatures.mirrors", lambda dataset: (nobody,))
    with pytest.raises(DataError, match=nobody):
        download.require("mnist", root)
    assert not root.exists()
    download.require("digits", root)
    idx.write(root)
    download.require("mnist", root)


def test_only_copies_of_the_data_set_itself_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files of both data sets have the same names; official ones are recognised by their checksums."""
    monkeypatch.setattr("mlplab.config.torch_signatures.mirrors", lambda dataset: ("http://127.0.0.1:9/",))
    folder = idx.write(tmp_path, "FashionMNIST")
    assert download.missing("fashion", tmp_path) == []
    assert download.missing("mnist", tmp_path) == FILES
    with pytest.raises(DataError, match=r"MNIST/raw: train-images-idx3-ubyte, .*\nare missing"):
        download.require("mnist", tmp_path)
    sha256 = {file: hashlib.sha256((folder / file).read_bytes()).hexdigest() for file in FILES}
    official = replace(download.IDX_DATASETS["mnist"], sha256=sha256)
    monkeypatch.setitem(download.IDX_DATASETS, "mnist", official)
    assert download.missing("mnist", tmp_path) == []
    images, labels = folder / FILES[0], folder / FILES[1]
    images.with_name(f"{FILES[0]}.gz").write_bytes(gzip.compress(images.read_bytes()))
    images.unlink()
    assert download.missing("mnist", tmp_path) == []
    labels.unlink()
    os.mkfifo(labels)
    assert download.missing("mnist", tmp_path) == [FILES[1]]
