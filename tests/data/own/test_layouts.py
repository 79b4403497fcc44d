"""The same images in each layout are the same data set."""

import gzip
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import idx
import own_data
import pytest
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from mlplab.config.datasets import Reading
from mlplab.data import datasets, framing
from mlplab.data.image_dataset import DatasetInfo, ImageDataset
from mlplab.data.own import csv_table
from mlplab.data.own.layout import natural
from mlplab.errors import DataError

AS_THEY_ARE = Reading(prepare="none")
TRAIN, TEST = own_data.made(60, seed=1), own_data.made(12, seed=2)
ROWS, TEST_ROWS = own_data.rows_of(*TRAIN), own_data.rows_of(*TEST)
HEADER = ["label", *(f"pixel{n}" for n in range(64))]


def _upper_case(root: Path) -> None:
    _table(lambda rows: [HEADER, *rows])(root)
    for path in list(root.iterdir()):
        path.rename(root / path.name.upper())


def _last(rows: list[list[str]]) -> list[list[str]]:
    return [[*row[1:], row[0]] for row in rows]


def _folder(root: Path) -> None:
    own_data.write_folder(root / "train", *TRAIN)
    own_data.write_folder(root / "test", *TEST)
    (root / "train" / "0" / "Thumbs.db").write_bytes(b"no picture")
    (root / ".hidden").mkdir()
    own_data.write_folder(root / "train" / "__MACOSX", *TRAIN)  # of an archive made on a Mac
    (root / "__MACOSX").mkdir()
    (root / "train" / "0" / "notes").mkdir()  # without pictures


def _table(change: Callable[[list[list[str]]], list[list[str]]], separator: str = ",") -> Callable[[Path], None]:
    def write(root: Path) -> None:
        own_data.write_csv(root / "my_train.csv", change(ROWS), separator)
        own_data.write_csv(root / "my_test.csv", change(TEST_ROWS), separator)

    return write


def _packed(root: Path) -> None:
    own_data.write_idx(root, TRAIN, TEST)
    for path in list(root.iterdir()):
        path.with_name(f"x-{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()


def _both(root: Path) -> None:
    """Write the files as torchvision leaves them after a download; the archives are not read."""
    own_data.write_idx(root, TRAIN, TEST)
    for path in list(root.iterdir()):
        path.with_name(f"{path.name}.gz").write_bytes(b"")


LAYOUTS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "folder": ("folder", _folder),
    "idx": ("idx", lambda root: own_data.write_idx(root, TRAIN, TEST)),
    "idx, packed": ("idx", _packed),
    "idx, also packed": ("idx", _both),
    "idx, colours last": ("idx", lambda root: own_data.write_idx(root, *((i[..., None], k) for i, k in (TRAIN, TEST)))),
    "csv with a header": ("csv", _table(lambda rows: [HEADER, *rows])),
    "csv, upper case": ("csv", _upper_case),
    "csv without": ("csv", _table(lambda rows: rows)),
    "csv, label last": ("csv", _table(_last)),
    "csv, label last, header": ("csv", _table(lambda rows: _last([HEADER, *rows]))),
    "csv, header of numbers": ("csv", _table(lambda rows: [["label", *map(str, range(64))], *rows])),
    "csv, semicolons": ("csv", _table(lambda rows: rows, ";")),
    "csv, tabs": ("csv", _table(lambda rows: [HEADER, *rows], "\t")),
    "csv, quoted": ("csv", _table(lambda rows: [[f'"{field}"' for field in row] for row in rows])),
    "csv, floats": ("csv", _table(lambda rows: [[f"{field}.0" for field in row] for row in rows])),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_what_was_written_is_read_in_its_order(layout: str, tmp_path: Path) -> None:
    name, write = LAYOUTS[layout]
    write(tmp_path)
    for _ in range(2):  # the second time from the cache
        found = datasets.load(name, tmp_path, AS_THEY_ARE)
        assert torch.equal(found.train_images, TRAIN[0].unsqueeze(1))
        assert torch.equal(found.train_labels, TRAIN[1].long())
        assert torch.equal(found.test_images, TEST[0].unsqueeze(1))
        assert torch.equal(found.test_labels, TEST[1].long())
        assert (found.info.image_shape, found.info.classes) == ((1, 8, 8), ("0", "1", "2"))
        pixels = TRAIN[0].double() / 255
        assert found.info.mean == pytest.approx(pixels.mean().item())
        assert found.info.std == pytest.approx(pixels.std(correction=0).item())


def _as_folders(root: Path, parts: dict[str, tuple[Tensor, Tensor]]) -> None:
    for name, part in parts.items():
        own_data.write_folder(root / name, *part)


def _as_tables(root: Path, parts: dict[str, tuple[Tensor, Tensor]]) -> None:
    for name, part in parts.items():
        own_data.write_csv(root / f"{name}.csv", own_data.rows_of(*part))


def _as_idx(root: Path, parts: dict[str, tuple[Tensor, Tensor]]) -> None:
    for name, part in parts.items():
        for values, what in zip(part, ("images-idx3", "labels-idx1"), strict=True):
            (root / f"{name}-{what}-ubyte").write_bytes(idx.encoded(values))


@pytest.mark.parametrize(("name", "write"), [("folder", _as_folders), ("csv", _as_tables), ("idx", _as_idx)])
@pytest.mark.parametrize("with_test", [True, False])
def test_images_for_validation_are_the_test_if_there_is_no_other(
    name: str, write: Callable[..., None], with_test: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    validation = own_data.made(9, seed=3)
    write(tmp_path, {"train": TRAIN, "val": validation, **({"test": TEST} if with_test else {})})
    found = datasets.load(name, tmp_path, AS_THEY_ARE)
    assert torch.equal(found.train_images[:, 0], TRAIN[0])
    assert torch.equal(found.test_images[:, 0], (TEST if with_test else validation)[0])
    unused = [line for line in caplog.messages if "not used" in line]
    assert all(Path(line.partition(":")[0]).name.startswith("val") for line in unused)
    assert len(unused) == with_test * (2 if name == "idx" else 1)


def test_a_name_is_for_the_test_by_a_whole_word(tmp_path: Path) -> None:
    _as_tables(tmp_path, {"latest_train": TRAIN, "contest": TEST})
    assert datasets.load("csv", tmp_path, AS_THEY_ARE).is_test_set_aside
    names = ("test tubes", "train station", "values")
    own_data.write_folder(tmp_path / "things", *TRAIN, names=names)
    assert datasets.load("folder", tmp_path / "things", AS_THEY_ARE).info.classes == names


def _named(root: Path) -> ImageDataset:
    own_data.write_folder(root, *TRAIN, names=("n 10", "n 9", "n 100"))
    return datasets.load("folder", root, AS_THEY_ARE)


def _named_by_file(root: Path) -> ImageDataset:
    for row, (image, label) in enumerate(zip(*TRAIN, strict=True)):
        Image.fromarray(image.numpy()).save(root / f"{('n 10', 'n 9', 'n 100')[label]}_{row:03}.png")
    return datasets.load("folder", root, AS_THEY_ARE)


def _one_table(root: Path) -> ImageDataset:
    names = {"0": "n 10", "1": "n 9", "2": "n 100"}
    path = own_data.write_csv(root / "digits.csv", [[names[label], *pixels] for label, *pixels in ROWS])
    return datasets.load("csv", path, AS_THEY_ARE)


def _quoted_names(root: Path) -> ImageDataset:
    """Read a table whose quoted names contain a comma; its pixels are not quoted."""
    names = {"0": '"n 10, green"', "1": '"n 9"', "2": '"n 100"'}
    path = own_data.write_csv(root / "digits.csv", [[*pixels, names[label]] for label, *pixels in ROWS])
    found = datasets.load("csv", path, AS_THEY_ARE)
    assert found.info.classes == ("n 9", "n 10, green", "n 100")
    return replace(found, info=replace(found.info, classes=("n 9", "n 10", "n 100")))


@pytest.mark.parametrize("read", [_named, _named_by_file, _one_table, _quoted_names])
def test_a_share_of_each_class_is_set_aside(read: Callable[[Path], ImageDataset], tmp_path: Path) -> None:
    """A fifth of 60 images of three classes is set aside for the test."""
    found = read(tmp_path)
    assert found.is_test_set_aside
    assert found.info.classes == ("n 9", "n 10", "n 100")
    assert found.test_labels.bincount().tolist() == [4, 4, 4]
    assert found.train_labels.bincount().tolist() == [16, 16, 16]
    order = torch.tensor([1, 0, 2])  # of the names
    expected = {(image.numpy().tobytes(), int(order[label.long()])) for image, label in zip(*TRAIN, strict=True)}
    assert _pairs(found.train_images, found.train_labels) | _pairs(found.test_images, found.test_labels) == expected


def test_names_that_differ_in_zeros_have_one_order() -> None:
    """A set of strings is in another order in each process."""
    names = ["a", "a001", "a01", "a1", "a2", "b", "01", "1"]
    for order in (names, names[::-1]):
        assert sorted(order, key=natural) == names


def _pairs(images: Tensor, labels: Tensor) -> set[tuple[bytes, int]]:
    return {(image.numpy().tobytes(), int(label)) for image, label in zip(images, labels, strict=True)}


def test_split_seed_and_test_size_choose_what_is_set_aside(tmp_path: Path) -> None:
    own_data.write_folder(tmp_path, *TRAIN)
    first, again, other, half = (
        datasets.load("folder", tmp_path, AS_THEY_ARE._replace(split_seed=seed, test_size=size))
        for seed, size in ((0, 0.2), (0, 0.2), (1, 0.2), (0, 0.5))
    )
    assert torch.equal(first.test_images, again.test_images)
    assert not torch.equal(first.test_images, other.test_images)
    assert half.test_labels.bincount().tolist() == [10, 10, 10]
    assert _pairs(first.test_images, first.test_labels) < _pairs(half.test_images, half.test_labels)


def test_a_column_that_may_be_the_labels_like_another_is_asked_for(tmp_path: Path) -> None:
    bits = [[label, *(str(int(pixel) % 2) for pixel in pixels)] for label, *pixels in ROWS]
    own_data.write_csv(tmp_path / "train.csv", bits)
    with pytest.raises(DataError, match="the labels may be in the first column or in the last"):
        datasets.load("csv", tmp_path, AS_THEY_ARE)
    found = datasets.load("csv", tmp_path, AS_THEY_ARE._replace(label_column="first"))
    assert found.info.classes == ("0", "1", "2")


def _few(labels: str, corners: str) -> list[list[str]]:
    """Return rows of two classes: a label and pixels, of which the first and the last are from `corners`."""
    return [
        [labels.split()[int(label)], corners.split()[n % 7 % len(corners.split())], *inner, corners.split()[n // 7 % 2]]
        for n, (label, _, *inner, _) in enumerate(row for row in ROWS if row[0] != "2")
    ]


@pytest.mark.parametrize("is_last", [False, True])
@pytest.mark.parametrize(
    ("labels", "corners", "is_clear"),
    [
        ("3 8", "0 255", True),  # no label is 255
        ("3 8", "0 0", True),
        ("0 1", "0 0", True),
        ("3 8", "0 1", False),  # a pixel may be counted like labels
        ("3 8", "2 5", False),
        ("0 1", "0 3", False),
        ("97 98", "0 1", False),
        ("0 255", "0 255", False),
        ("cat dog", "0 1", True),
    ],
)
def test_the_column_of_labels_is_guessed_only_if_it_is_clear(
    labels: str, corners: str, is_clear: bool, is_last: bool, tmp_path: Path
) -> None:
    rows = _few(labels, corners)
    own_data.write_csv(tmp_path / "train.csv", _last(rows) if is_last else rows)
    if is_clear:
        assert datasets.load("csv", tmp_path, AS_THEY_ARE).info.classes == tuple(labels.split())
        return
    with pytest.raises(DataError, match=r"Give data\.label_column=first or last\."):
        datasets.load("csv", tmp_path, AS_THEY_ARE)
    column = AS_THEY_ARE._replace(label_column="last" if is_last else "first")
    assert datasets.load("csv", tmp_path, column).info.classes == tuple(labels.split())


def test_a_table_may_be_sorted_by_class(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_table, "SAMPLE", 5)
    own_data.write_csv(tmp_path / "train.csv", sorted(_last(ROWS), key=lambda row: row[-1]))
    assert datasets.load("csv", tmp_path, AS_THEY_ARE).info.classes == ("0", "1", "2")


def test_numbers_of_the_same_value_are_one_class(tmp_path: Path) -> None:
    forms = ("{}", "0{}", "{}.0", "{}e0")
    rows = [[forms[n // 3 % 4].format(label), *pixels] for n, (label, *pixels) in enumerate(ROWS)]
    own_data.write_csv(tmp_path / "train.csv", [HEADER, *rows])
    assert datasets.load("csv", tmp_path, AS_THEY_ARE).info.classes == ("0", "1", "2")


def test_a_table_without_labels_is_not_the_test(tmp_path: Path) -> None:
    own_data.write_csv(tmp_path / "train.csv", [HEADER, *ROWS])
    path = own_data.write_csv(tmp_path / "test.csv", [row[1:] for row in [HEADER, *TEST_ROWS]])
    assert len(datasets.load("csv", tmp_path, AS_THEY_ARE).test_images) == 12
    assert datasets.load("csv", tmp_path, AS_THEY_ARE).is_test_set_aside
    assert torch.equal(torch.from_numpy(csv_table.images(path, (1, 8, 8))), TEST[0].unsqueeze(1))
    for shape, says in (((1, 9, 9), "has 64 pixels in a row, but the network takes 81"), ((1, 8, 8), "without labels")):
        with pytest.raises(DataError, match=says):
            csv_table.images(path if shape[1] == 9 else tmp_path / "train.csv", shape)


def test_colours_are_kept_if_any_picture_has_them(tmp_path: Path) -> None:
    grey, labels = own_data.made(9, seed=3)
    colours = torch.stack([grey, 255 - grey, grey // 2], dim=1)
    own_data.write_folder(tmp_path / "train", colours[:6], labels[:6])
    own_data.write_folder(tmp_path / "train", grey[:3], labels[:3])  # in place of the first three
    own_data.write_folder(tmp_path / "test", colours[6:], labels[6:])
    found = datasets.load("folder", tmp_path, AS_THEY_ARE)
    assert found.info.image_shape == (3, 8, 8)
    assert torch.equal(found.train_images[3:], colours[3:6])
    assert torch.equal(found.train_images[:3], grey[:3].unsqueeze(1).expand(-1, 3, -1, -1))


@pytest.mark.parametrize(("prepare", "longest"), [("mnist", 20), ("fashion", 28)])
def test_pictures_are_framed_like_those_of_a_data_set(prepare: str, longest: int, tmp_path: Path) -> None:
    """Pictures of different sizes and modes are black shapes on white, some of them in colour or with transparency."""
    for name, shape in (("circle", ImageDraw.ImageDraw.ellipse), ("bar", ImageDraw.ImageDraw.rectangle)):
        (tmp_path / name).mkdir()
        for number, (mode, size) in enumerate((("L", 60), ("RGB", 130), ("RGBA", 90), ("1", 75))):
            picture = Image.new(mode, (size, size + 20), "white")
            shape(ImageDraw.Draw(picture), (size / 4, size / 4, size / 2, size * 0.8), fill="black")
            picture.save(tmp_path / name / f"{number}.png")
    found = datasets.load("folder", tmp_path, Reading(prepare=prepare))
    assert found.info.image_shape == (1, 28, 28)
    assert (found.info.object_size, found.info.centred_by_mass) == (longest, prepare == "mnist")
    for image in (*found.train_images, *found.test_images):
        rows, columns = (image[0] > framing.INK).nonzero().T
        assert max(int(rows.max() - rows.min()), int(columns.max() - columns.min())) + 1 in (longest - 1, longest)


@pytest.mark.parametrize("axis", [1, 3])
def test_colours_of_idx_files_may_be_first_or_last(axis: int, tmp_path: Path) -> None:
    colours = [torch.stack([images, 255 - images, images // 2], dim=1) for images in (TRAIN[0], TEST[0])]
    stored = [one.movedim(1, axis).contiguous() for one in colours]
    own_data.write_idx(tmp_path, (stored[0], TRAIN[1]), (stored[1], TEST[1]))
    found = datasets.load("idx", tmp_path, AS_THEY_ARE)
    assert found.info.image_shape == (3, 8, 8)
    assert torch.equal(found.train_images, colours[0])
    assert torch.equal(found.test_images, colours[1])


def test_labels_of_idx_files_need_not_be_counted_from_0(tmp_path: Path) -> None:
    own_data.write_idx(tmp_path, (TRAIN[0], 2 * TRAIN[1] + 1), (TEST[0], 2 * TEST[1] + 1))
    found = datasets.load("idx", tmp_path, AS_THEY_ARE)
    assert found.info.classes == ("1", "3", "5")
    assert torch.equal(found.train_labels, TRAIN[1].long())


def test_facts_of_checkpoints_of_earlier_versions_are_complete() -> None:
    assert not DatasetInfo((1, 28, 28), ("0", "1"), 0.1, 0.3, 20, True).as_they_are
