"""The archive that models are kept in: round trips, atomic writes, damage of every kind."""

import json
import os
import pickle
import stat
import zipfile
from pathlib import Path

import numpy as np
import pytest

from fastsgd.io import load_archive, save_archive

HEADER = {"loss": "hinge", "alpha": 1e-4, "tol": None, "names": ["é", "b"], "nested": {"average": True}}
ARRAYS = {
    "coef": np.arange(6, dtype=np.float32).reshape(2, 3),
    "fortran": np.asfortranarray(np.random.default_rng(0).random((4, 5))),
    "classes": np.array(["spam", "häm"]),
    "scalar": np.float64(0.1),
    "empty": np.empty((0, 3), np.int64),
    "strided": np.arange(20)[::3],
    "big endian": np.arange(3, dtype=">f8"),
    "flags": np.array([True, False]),
}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model"


@pytest.fixture
def saved(path):
    save_archive(path, HEADER, ARRAYS)
    return path


def test_round_trip(saved):
    header, arrays = load_archive(saved)
    assert header == HEADER
    assert arrays.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        assert arrays[name].dtype == array.dtype
        assert arrays[name].shape == array.shape
        np.testing.assert_array_equal(arrays[name], array)
        assert arrays[name].flags.writeable


def test_round_trip_of_nothing(path):
    save_archive(path, {}, {})
    assert load_archive(path) == ({}, {})


def test_numpy_and_unzip_read_it(saved):
    with np.load(saved, allow_pickle=False) as archive:
        np.testing.assert_array_equal(archive["coef"], ARRAYS["coef"])
        assert json.loads(archive["fastsgd.json"]) == {**HEADER, "format": "fastsgd", "version": 1, "arrays": [*ARRAYS]}
    with zipfile.ZipFile(saved) as archive:
        assert archive.testzip() is None


def test_equal_models_are_equal_files(saved, tmp_path):
    save_archive(tmp_path / "again", HEADER, ARRAYS)
    assert (tmp_path / "again").read_bytes() == saved.read_bytes()


def test_reserved_header_entries_are_the_archives(path):
    save_archive(path, {"format": "mine", "version": 9, "a": 1}, {})
    assert load_archive(path)[0] == {"a": 1}


@pytest.mark.parametrize("name", ["model", "model.npz", "model.bin", "m o d é l"])
@pytest.mark.parametrize("kind", [str, Path])
def test_path_is_used_as_given(tmp_path, name, kind):
    save_archive(kind(tmp_path / name), HEADER, {})
    assert os.listdir(tmp_path) == [name]
    assert load_archive(kind(tmp_path / name))[0] == HEADER


@pytest.mark.parametrize("array", [np.array([{}]), np.array(["a", None], object), np.zeros(2, [("x", object)]), [None]])
def test_objects_are_refused(path, array):
    with pytest.raises(TypeError, match="array 'classes' holds Python objects"):
        save_archive(path, {}, {"coef": np.zeros(2), "classes": array})
    assert not path.exists()


def test_header_must_be_json(path):
    with pytest.raises(TypeError, match="JSON"):
        save_archive(path, {"loss": object()}, {})
    assert not path.exists()


# Atomic writes


def test_a_failed_save_leaves_the_old_file(saved, monkeypatch):
    before = saved.read_bytes()

    def fail(*args, **kwargs):
        raise OSError("disk full")

    for module, name in [(np.lib.format, "write_array"), (os, "fsync"), (os, "replace")]:
        with monkeypatch.context() as patch:
            patch.setattr(module, name, fail)
            with pytest.raises(OSError, match="disk full"):
                save_archive(saved, {}, ARRAYS)
        assert saved.read_bytes() == before
        assert os.listdir(saved.parent) == [saved.name]


def test_save_overwrites(saved):
    save_archive(saved, {"a": 1}, {})
    assert load_archive(saved) == ({"a": 1}, {})
    assert os.listdir(saved.parent) == [saved.name]


def test_missing_directory_is_named_as_given(tmp_path):
    with pytest.raises(FileNotFoundError) as caught:
        save_archive(tmp_path / "none" / "model", {}, {})
    assert caught.value.filename == str(tmp_path / "none" / "model")


@pytest.mark.skipif(os.name != "posix", reason="permissions, links and pipes of POSIX")
def test_posix(saved, tmp_path):
    plain = tmp_path / "plain"
    plain.write_bytes(b"")
    assert stat.S_IMODE(saved.stat().st_mode) == stat.S_IMODE(plain.stat().st_mode)
    link = tmp_path / "link"
    link.symlink_to(saved)
    save_archive(link, {"a": 1}, {})
    assert link.is_symlink()
    assert load_archive(saved)[0] == {"a": 1}
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    save_archive(pipe, {"a": 1}, {})
    plain.write_bytes(os.read(reader, 1 << 16))
    os.close(reader)
    assert pipe.is_fifo()
    assert load_archive(plain)[0] == {"a": 1}
    with pytest.raises(IsADirectoryError):
        save_archive(tmp_path, {}, {})


# What cannot be loaded, and why


def test_missing_file(path):
    with pytest.raises(FileNotFoundError):
        load_archive(path)


FOREIGN = {
    "empty": b"",
    "text": b"-1 3:1 11:1\n",
    "gzip": b"\x1f\x8b\x08\0\0\0\0\0",
    "pickle": pickle.dumps({"format": "fastsgd"}),
    "start of a zip": b"PK",
}


@pytest.mark.parametrize("content", FOREIGN.values(), ids=FOREIGN)
def test_foreign_file(path, content):
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"model: not a fastsgd model file.* give one that save\(\) wrote"):
        load_archive(path)


def test_foreign_zip(path):
    with open(path, "wb") as file:
        np.savez(file, coef=np.zeros(3))
    with pytest.raises(ValueError, match="not a fastsgd model file"):
        load_archive(path)


def test_truncated_at_every_length(saved):
    content = saved.read_bytes()
    for size in range(4, len(content)):
        saved.write_bytes(content[:size])
        with pytest.raises(ValueError, match=r"model: truncated or corrupted model file \(.*copy it again"):
            load_archive(saved)


def test_every_flipped_byte_is_found_or_harmless(path):
    """Zip keeps a CRC of the contents; a few bytes of its own (dates, permissions) carry nothing."""
    save_archive(path, HEADER, {"coef": np.arange(3.0)})
    content = path.read_bytes()
    found = 0
    for at in range(len(content)):
        for flip in (0x01, 0x80, 0xFF):
            path.write_bytes(content[:at] + bytes([content[at] ^ flip]) + content[at + 1 :])
            try:
                header, arrays = load_archive(path)
            except ValueError as error:
                found += 1
                assert "model: " in str(error)  # noqa: PT017
            else:
                assert header == HEADER
                assert [(name, array.tolist()) for name, array in arrays.items()] == [("coef", [0, 1, 2])]
    assert found > 2 * len(content)


def header_only(path, text):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("fastsgd.json", text)


def test_newer_version(path):
    header_only(path, '{"format": "fastsgd", "version": 2}')
    with pytest.raises(
        ValueError, match=r"written by a newer fastsgd \(file version 2, this one reads up to 1\); upgrade"
    ):
        load_archive(path)


def test_newer_version_need_not_be_understood(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("fastsgd.json", '{"format": "fastsgd", "version": 7}')
        archive.writestr("coef.zarr", b"whatever comes")
    with pytest.raises(ValueError, match="newer"):
        load_archive(path)


@pytest.mark.parametrize(
    "text",
    [
        *("", "{", "[]", "3", "{}", b"\xff", '{"format": "fastsgd"}', '{"format": "x", "version": 1, "arrays": []}'),
        *(f'{{"format": "fastsgd", "version": {rest}}}' for rest in ('"x"', "null", "1", '1, "arrays": ["coef"]')),
    ],
)
def test_bad_header(path, text):
    header_only(path, text)
    with pytest.raises(ValueError, match="truncated or corrupted"):
        load_archive(path)


@pytest.mark.parametrize("name", ["coef", "other"])
def test_pickle_is_never_loaded(path, tmp_path, name):
    class Bomb:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "exploded"),)

    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("fastsgd.json", f'{{"format": "fastsgd", "version": 1, "arrays": ["{name}"]}}')
        with archive.open("coef.npy", "w") as entry:
            np.lib.format.write_array(entry, np.array([Bomb()], object), allow_pickle=True)
        archive.writestr("other.npy", pickle.dumps(Bomb()))
    with pytest.raises(ValueError, match="corrupted"):
        load_archive(path)
    assert not (tmp_path / "exploded").exists()
