"""KMNIST, EMNIST and QMNIST, compared with torchvision's own classes, which read the same small files."""

from pathlib import Path

import idx
import numpy as np
import pytest
import torch
from torch import Tensor
from torchvision import datasets as torchvision_datasets

from mlplab.config import torch_signatures
from mlplab.config.datasets import DATASETS, IDX_DATASETS, SPLITS, files_of, key_of
from mlplab.data import datasets, download
from mlplab.errors import DataError


def _emnist(root: Path, split: str) -> None:
    folder, facts = root / "EMNIST" / "raw", DATASETS[f"emnist/{split}"]
    folder.mkdir(parents=True, exist_ok=True)
    for part, seed in (("train", 1), ("test", 2)):
        images, _ = idx.patterned(130, seed)
        labels = torch.arange(130).remainder(len(facts.classes)).to(torch.uint8)
        for kind, values in (("images-idx3", images), ("labels-idx1", labels + facts.first_label)):
            (folder / f"emnist-{split}-{part}-{kind}-ubyte").write_bytes(idx.encoded(values))


@pytest.mark.parametrize("split", SPLITS["emnist"])
def test_emnist(split: str, tmp_path: Path) -> None:
    """Images are turned; the classes of torchvision's letters begin with one that no image has."""
    _emnist(tmp_path, split)
    found = datasets.load(f"emnist/{split}", tmp_path)
    for images, labels, is_train in (
        (found.train_images, found.train_labels, True),
        (found.test_images, found.test_labels, False),
    ):
        expected = torchvision_datasets.EMNIST(tmp_path, split=split, train=is_train)
        assert torch.equal(images[:, 0], expected.data.transpose(1, 2))
        assert [found.info.classes[k] for k in labels] == [expected.classes[k] for k in expected.targets]
    assert len(found.info.classes) == {"balanced": 47, "bymerge": 47, "byclass": 62, "letters": 26}.get(split, 10)


def test_labels_of_letters_begin_with_1(tmp_path: Path) -> None:
    _emnist(tmp_path, "letters")
    path = tmp_path / "EMNIST" / "raw" / "emnist-letters-train-labels-idx1-ubyte"
    path.write_bytes(path.read_bytes()[:-1] + b"\0")
    with pytest.raises(DataError, match="the labels must be from 1 to 26, found 0"):
        datasets.load("emnist/letters", tmp_path)


def test_kmnist(tmp_path: Path) -> None:
    idx.write(tmp_path, "KMNIST")
    found, expected = datasets.load("kmnist", tmp_path), torchvision_datasets.KMNIST(tmp_path, train=False)
    assert torch.equal(found.test_images[:, 0], expected.data)
    assert torch.equal(found.test_labels, expected.targets)
    assert list(found.info.classes) == expected.classes


def _numbers(values: Tensor) -> bytes:
    """Return the bytes of an IDX file of int32 values (N, 8)."""
    header = b"".join(number.to_bytes(4, "big") for number in (0x0C02, *values.shape))
    return header + values.numpy().astype(">i4").tobytes()


@pytest.mark.parametrize("split", SPLITS["qmnist"])
def test_qmnist(split: str, tmp_path: Path) -> None:
    folder = tmp_path / "QMNIST" / "raw"
    folder.mkdir(parents=True)
    for part, count in (("train", 40), ("test", 10_020)):
        images = torch.arange(count).mul(7).remainder(256).to(torch.uint8).view(-1, 1, 1).repeat(1, 2, 2)
        labels = torch.arange(8 * count, dtype=torch.int32).view(count, 8) % 3 + torch.arange(count)[:, None] % 8
        (folder / f"qmnist-{part}-images-idx3-ubyte").write_bytes(idx.encoded(images))
        (folder / f"qmnist-{part}-labels-idx2-int").write_bytes(_numbers(labels))
    found = datasets.load(f"qmnist/{split}", tmp_path)
    for images, labels, what in (
        (found.train_images, found.train_labels, "train"),
        (found.test_images, found.test_labels, split),
    ):
        expected = torchvision_datasets.QMNIST(tmp_path, what=what)
        assert torch.equal(images[:, 0], expected.data)
        assert labels.tolist() == [int(target[0]) for target in expected.targets]
    assert np.unique(found.train_labels).max() <= 9


def test_addresses_and_classes_are_those_of_torchvision() -> None:
    emnist, qmnist = torchvision_datasets.EMNIST, torchvision_datasets.QMNIST
    for kind in (torchvision_datasets.MNIST, torchvision_datasets.FashionMNIST, torchvision_datasets.KMNIST):
        assert [archive.removesuffix(".gz") for archive, _ in kind.resources] == [*files_of("train", "t10k")]
        for file in files_of("train", "t10k"):
            assert [*torch_signatures.addresses(kind.__name__, file)] == [f"{url}{file}.gz" for url in kind.mirrors]
    assert torch_signatures.addresses("EMNIST", "any") == (emnist.url,)
    urls = {url.rpartition("/")[2].removesuffix(".gz"): url for part in qmnist.resources.values() for url, _ in part}
    for file in DATASETS["qmnist/test"].files:
        assert torch_signatures.addresses("QMNIST", file) == (urls[file],)
    assert set(SPLITS["emnist"]) == set(emnist.splits)
    for split, names in emnist.classes_split_dict.items():
        assert [name for name in names if name != "N/A"] == list(DATASETS[f"emnist/{split}"].classes)


def test_other_files_of_an_archive_are_kept(tmp_path: Path) -> None:
    """EMNIST's archive has the files of all its splits."""
    calls = []

    class EMNIST:
        def __init__(self, root: Path, download: bool, split: str) -> None:
            calls.append(split)
            _emnist(root, "letters")
            _emnist(root, "digits")
            (root / "EMNIST" / "raw" / "gzip.zip").write_bytes(b"PK")

    facts = IDX_DATASETS[key_of("emnist", "letters")]
    assert download.missing("emnist/letters", tmp_path) == list(facts.files)
    download.fetch(EMNIST, tmp_path, facts.files, facts.downloads)  # type: ignore[arg-type]
    assert download.missing("emnist/letters", tmp_path) == download.missing("emnist/digits", tmp_path) == []
    assert calls == ["letters"]
    assert len(list((tmp_path / "EMNIST" / "raw").iterdir())) == 8
