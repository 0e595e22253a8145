import errno
import os
from pathlib import Path

import pytest

from vitrine import storage
from vitrine.errors import StorageError


def test_home_holds_data_and_cache(home: Path) -> None:
    assert storage.data_folder() == home / "data"
    assert storage.cache_folder() == home / "cache"


def test_without_home_the_platforms_folders_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VITRINE_HOME")
    assert storage.data_folder().name == "vitrine"
    assert storage.cache_folder().name == "vitrine"
    assert storage.data_folder() != storage.cache_folder()


def test_user_data_sets(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert storage.user_data_sets() is None
    monkeypatch.setenv("VITRINE_DATA", str(tmp_path))
    assert storage.user_data_sets() == tmp_path


def test_write_replaces_whole_files_and_makes_folders(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b.txt"
    storage.write_text(path, "one")
    storage.write_text(path, "two")
    assert path.read_text() == "two"
    assert [entry.name for entry in path.parent.iterdir()] == ["b.txt"]


def test_a_new_name_is_settled_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settled: list[tuple[Path, list[str]]] = []
    monkeypatch.setattr(storage, "settle", lambda folder: settled.append((folder, os.listdir(folder))))
    storage.write_text(tmp_path / "a" / "file", "text")
    assert settled == [(tmp_path / "a", ["file"])]


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path, error: BaseException) -> None:
    path = tmp_path / "file"
    storage.write_text(path, "old")

    def write_half() -> None:
        with storage.writing(path) as part:
            part.write_text("half")
            raise error

    with pytest.raises((StorageError, KeyboardInterrupt)) as caught:
        write_half()
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir() if entry.is_file()] == ["file"]
    if isinstance(caught.value, StorageError):
        assert "the disk is full" in str(caught.value)


def test_a_place_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="a file is in the way"):
        storage.write_text(tmp_path / "file" / "below", "text")


@pytest.mark.parametrize(
    ("code", "says"),
    [(errno.EROFS, "the disk is read-only"), (errno.EACCES, "permission is denied"), (errno.EIO, "check")],
)
def test_a_disk_that_refuses_is_one_sentence(
    code: int, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(Path, "touch", refuse)
    with pytest.raises(StorageError, match=says):
        storage.write_text(tmp_path / "file", "text")


def test_remove_folder_takes_a_missing_one(tmp_path: Path) -> None:
    storage.remove_folder(tmp_path / "missing")
    storage.write_text(tmp_path / "folder" / "file", "text")
    storage.remove_folder(tmp_path / "folder")
    assert not (tmp_path / "folder").exists()


def test_what_a_killed_writer_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    storage.remove_parts(tmp_path / "missing")
    for name in (".3f.part", "model.onnx", "my.part", ".hidden"):
        storage.write_text(tmp_path / "run" / name, "")
    storage.remove_parts(tmp_path / "run")
    assert {path.name for path in (tmp_path / "run").iterdir()} == {"model.onnx", "my.part", ".hidden"}


def test_what_torchrun_says_is_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RANK", raising=False)
    assert storage.torchrun("RANK") == 0
    for said, number in (("3", 3), ("", 0), ("many", 0)):
        monkeypatch.setenv("RANK", said)
        assert storage.torchrun("RANK") == number


def test_cores_are_those_that_this_program_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {1, 5, 6}, raising=False)
    assert storage.cores() == 3
    monkeypatch.delattr(os, "sched_getaffinity")  # not on macOS and Windows
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert storage.cores() == 1
