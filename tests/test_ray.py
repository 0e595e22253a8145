"""--engine ray. What needs no cluster is quick; the rest runs on real ones: processes of Ray on this machine."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

import vitrine
from milvus_fixtures import Milvus
from pictures import Cli, one_sentence, save_folder, written
from vitrine import images
from vitrine.bridging import Viewer
from vitrine.catalogue import Known, by_name
from vitrine.catalogue.local import LocalCatalogue
from vitrine.choosing import Models
from vitrine.cli import guard
from vitrine.datasets import Splits
from vitrine.encoder import Encoder
from vitrine.errors import ClusterError, ModelFileError, VitrineError
from vitrine.indexing import on_ray, ray_cluster, ray_worker
from vitrine.indexing.folder import FolderSync
from vitrine.indexing.on_ray import OnRay
from vitrine.indexing.picture_rows import PictureRows
from vitrine.indexing.ray_worker import Kit, Packed
from vitrine.indexing.reading import Decoded, Given, Reader, Refused, Wanted, fetch
from vitrine.progress import silent

STORE = 150 * 2**20
LONG = 600.0
"""Seconds after which something has not come, on a machine that is busy with other things."""

CRASHED = "vitrine: Ray has crashed"
"""Ray's own C++ part does, once in hundreds of runs; then another process goes on."""

PROGRAM = "from vitrine.cli import main; main()"

HELD = """
import os, signal, sys, time
from pathlib import Path
from vitrine.cli import main
from vitrine.indexing import on_ray, ray_worker

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
on_ray.BATCH, place = 25, Path(sys.argv.pop(1))

class Worker(ray_worker.Worker):
    done = 0

    def __call__(self, block):
        import ray

        (place / ray.get_runtime_context().get_node_id()).touch()
        while self.done == 2 and not (place / "go").exists():
            time.sleep(0.05)
        self.done += 1
        yield from super().__call__(block)

on_ray.ray_worker.Worker = Worker
main()
"""
"""`vitrine`, whose workers on Ray say in a folder on which machine they are, and wait there after two portions until
they may go on: what is done meanwhile is done in the middle. The first portion comes when the second is there, too.
"""


@pytest.fixture(autouse=True)
def _in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where `cli` calls the command in the process of the tests."""
    monkeypatch.setattr(guard, "guard", lambda: None)


@pytest.fixture
def shop(drawn: Splits, tmp_path: Path) -> Path:
    """A hundred pictures of ten classes, and one that is none."""
    save_folder(drawn.train[:100], tmp_path / "shop")
    (tmp_path / "shop" / "Dress" / "broken.jpg").write_text("text")
    return tmp_path / "shop"


@pytest.fixture
def many(drawn: Splits, tmp_path: Path) -> Path:
    """Two hundred pictures: eight portions."""
    save_folder(drawn.train, tmp_path / "many")
    return tmp_path / "many"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Where held workers look."""
    (tmp_path / "place").mkdir()
    return tmp_path / "place"


# --- what needs no cluster


@pytest.mark.parametrize("address", ["ray://10.0.0.1:10001", "head", "head:port", ":6379", "10.0.0.1:70000", ""])
def test_what_is_no_address(address: str, shop: Path, cli: Cli) -> None:
    code, out, error = cli("index", "sync", shop, "--engine", "ray", "--ray-address", address)
    assert (code, out) == (2, "")
    assert one_sentence(error)
    assert "HOST:PORT" in error


def test_nobody_listens(shop: Path, cli: Cli) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        code, _, error = cli("index", "sync", shop, "--engine", "ray", "--ray-address", address)
    assert code == 2
    assert one_sentence(error)
    assert f"Nothing answers at --ray-address {address} (Connection refused)" in error
    assert cli("index", "list") == (0, "", cli("index", "list")[2])  # no catalogue came of it


def test_who_listens_is_not_ray(shop: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_cluster, "_GREET", 1.0)
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = f"127.0.0.1:{other.getsockname()[1]}"
        code, _, error = cli("index", "sync", shop, "--engine", "ray", "--ray-address", address)
    assert code == 2
    assert one_sentence(error)
    assert "is not Ray" in error


@pytest.mark.parametrize("options", [["--ray-address", "127.0.0.1:6379"], ["--ship"]])
def test_what_is_for_the_engine_only(options: list[str], shop: Path, cli: Cli) -> None:
    code, _, error = cli("index", "sync", shop, *options)
    assert code == 2
    assert f"{options[0]} is for --engine ray" in error


@pytest.mark.parametrize("missing", ["ray", "pyarrow", "pandas"])
def test_what_is_not_installed(missing: str, shop: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] in ("ray", missing)]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, missing, None)
    code, _, error = cli("index", "sync", shop, "--engine", "ray")
    assert code == 2
    assert f"--engine ray needs {missing}" in error
    assert "pip install 'vitrine[scale]'" in error


@pytest.mark.parametrize(
    ("ends", "code", "says"),
    [
        ("os._exit(1)", 2, "vitrine: Ray has gone away"),
        ("sys.exit(1)", 1, ""),
        ("sys.exit(2)", 2, ""),
        ("os._exit(3)", 3, ""),
        ("pass", 0, ""),
        ("os.kill(os.getpid(), signal.SIGKILL)", 137, ""),
        ("guard.all_is_said(None)\nos._exit(1)", 0, ""),
        ("guard.all_is_said(1)\nos._exit(1)", 1, ""),
        ("guard.all_is_said(0)\nos.abort()", 0, ""),
        ("guard.all_is_said(2)\nos.abort()", 2, ""),
        ("guard.all_is_said(2)\nprint('more')\nos.write(2, b'more')\nsys.exit(2)", 2, ""),
        ("guard.all_is_said(0)\nos.kill(os.getpid(), signal.SIGKILL)", 137, ""),
        ("guard.all_is_said(0)\nsys.exit(1)", 1, ""),
        ("sys.stdout = None\nguard.all_is_said(0)", 0, ""),
        ("os.kill(os.getppid(), signal.SIGINT)\ntime.sleep(60)", 130, ""),
        ("os.kill(os.getppid(), signal.SIGTERM)\ntime.sleep(60)", 143, ""),
    ],
)
def test_how_ray_ends_the_process_that_uses_it_is_said_by_another(ends: str, code: int, says: str) -> None:
    ended = _python(_guarded(ends))
    assert (ended.returncode, ended.stdout) == (code, "")
    assert ended.stderr.startswith(says)
    assert len(ended.stderr.splitlines()) == bool(says)


def _guarded(does: str) -> str:
    """A program that does this in the second process, or in the one after that."""
    program = "import os, signal, sys, time\nfrom pathlib import Path\nfrom vitrine.cli import guard\n"
    program += "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a shell's background jobs ignore it
    return (
        program
        + "guard.guard()\ntry:\n    "
        + does.replace("\n", "\n    ")
        + "\nexcept KeyboardInterrupt: sys.exit(130)"
    )


@pytest.mark.parametrize(
    ("crashes", "last", "code"), [(1, "", 0), (2, "sys.exit(5)", 5), (3, "", 2), (1, "os._exit(1)", 2)]
)
def test_after_a_crash_of_ray_another_process_goes_on(crashes: int, last: str, code: int, tmp_path: Path) -> None:
    turns = f"turns = Path({str(tmp_path / 'turns')!r})\nturns.open('a').write('x')\n"
    crash = f"if len(turns.read_text()) <= {crashes}: os.kill(os.getpid(), signal.SIGSEGV)\n"
    ended = _python(_guarded(f"{turns}{crash}print('done', flush=True)\n{last}"))
    lines = ended.stderr.splitlines()
    assert ended.returncode == code
    assert ended.stdout == ("" if crashes == 3 else "done\n")
    assert all(
        line.startswith("vitrine: Ray has crashed") and "(SIGSEGV); what was written" in line
        for line in lines[:crashes]
    )
    assert len(lines) == crashes + (last == "os._exit(1)")
    assert lines[-1].endswith("and another process goes on.") == (code in (0, 5))
    assert len((tmp_path / "turns").read_text()) == min(crashes + 1, 3)


@pytest.mark.parametrize(("number", "code"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_a_stop_reaches_who_goes_on_after_a_crash(number: str, code: int, tmp_path: Path) -> None:
    first = f"first = Path({str(tmp_path / 'first')!r})\nif not first.exists():\n    first.touch()\n    os.abort()\n"
    ended = _python(_guarded(f"{first}os.kill(os.getppid(), signal.{number})\ntime.sleep(60)"))
    assert ended.returncode == code
    assert len(ended.stderr.splitlines()) == 1


def test_a_stop_that_is_ignored_is_none(tmp_path: Path) -> None:
    first = f"first = Path({str(tmp_path / 'first')!r})\nif not first.exists():\n    first.touch()\n    "
    stop = "os.kill(os.getppid(), signal.SIGHUP)\n    time.sleep(0.2)\n    os.abort()\n"
    ended = _python("import signal\nsignal.signal(signal.SIGHUP, signal.SIG_IGN)\n" + _guarded(first + stop))
    assert ended.returncode == 0
    assert len(ended.stderr.splitlines()) == 1


@pytest.mark.parametrize(("to_the_end", "raised"), [(False, False), (True, False), (True, True)])
def test_ray_may_stay_until_the_process_ends_where_all_went_well(
    to_the_end: bool, raised: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    import ray

    stopped: list[int] = []
    at_exit: list[Callable[[], None]] = []
    monkeypatch.setattr(ray, "init", lambda **options: None)
    monkeypatch.setattr(ray, "shutdown", lambda: stopped.append(1))
    monkeypatch.setattr("atexit.register", at_exit.append)
    with pytest.raises(KeyError) if raised else nullcontext(), ray_cluster.connected(None, to_the_end=to_the_end):
        if raised:
            raise KeyError
    stays = to_the_end and not raised
    assert (len(stopped), len(at_exit)) == (not stays, stays)
    for leave in at_exit:
        leave()
    assert stopped == [1]


def test_who_is_guarded_ends_with_who_waits() -> None:
    program = "import os, time\nfrom vitrine.cli import guard\nguard.guard()\nprint(os.getpid(), flush=True)\n"
    line = [sys.executable, "-c", program + "time.sleep(600)"]
    with subprocess.Popen(line, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        assert int(running.stdout.readline()) != running.pid
        running.kill()
        assert running.stdout.read() == ""  # that is its end: the other one has it open, too


def test_ray_is_not_loaded_without_need(shop: Path) -> None:
    program = (
        f"import sys; from vitrine.cli import main; sys.argv[1:] = ['index', 'sync', {str(shop)!r}]\ntry: main()\n"
    )
    said = _python(program + "finally: print(sorted({'ray', 'pandas', 'pyarrow'} & set(sys.modules)))")
    assert said.stdout.endswith("[]\n")


def test_what_a_worker_answers_is_what_the_plain_engine_says(shop: Path) -> None:
    vector = np.linspace(0, 1, 5, dtype=np.float32)
    for picture in (
        Decoded("c", "s", None, b"png", vector),
        Decoded("c", None),
        Refused(None, "why"),
        Refused("s", ""),
    ):
        table = pa.Table.from_pylist([ray_worker._answer(0, picture)], schema=ray_worker.ANSWERS)
        ((back,),) = on_ray._in_order([ray_worker.packed(table)])
        assert repr(back) == repr(picture)


def test_pictures_that_travel(shop: Path) -> None:
    """What is read for a worker is what the worker would have read; what cannot be read travels as its reason."""
    known = Known(7, "a", None, "content", None, None)
    files = [*sorted(map(str, shop.rglob("*.png")))[:7], str(shop / "none.png")]
    (block,) = on_ray._blocks([Wanted(file, known, None) for file in files], [0])
    parts = [table for one in ray_worker.read(block, 3) for table in ray_worker.unpacked(one)]
    assert [len(part) for part in parts] == [3, 3, 2]
    back = [ray_worker.wanted(row) for part in parts for row in part.to_pylist()]
    assert [one.file for one in back] == files
    assert {one.known.content for one in back if one.known} == {"content"}
    assert [one.given for one in back] == [fetch(file) for file in files]
    assert isinstance(back[-1].given, Refused)


def test_pictures_of_a_parquet_file_are_handed_out_by_row_group(drawn: Splits, tmp_path: Path) -> None:
    written = [images.png(image) for image in drawn.test.images[:10]]
    pq.write_table(pa.table({"image": written}), tmp_path / "shop.parquet", row_group_size=4)
    rows = PictureRows.read(str(tmp_path / "shop.parquet"))
    wanted = [Wanted(source, None, None, rows.place(source)) for source in rows.rows]
    left = [*wanted[1:3], *wanted[5:]]
    assert on_ray._groups(left) == [0, 2, 5]
    blocks = [one for block in on_ray._blocks(left, on_ray._groups(left)) for one in ray_worker.read(block, 25)]
    given = [
        ray_worker.wanted(row).given for one in blocks for part in ray_worker.unpacked(one) for row in part.to_pylist()
    ]
    assert [one.written for one in given if isinstance(one, Given)] == [*written[1:3], *written[5:]]
    assert on_ray._fitting(wanted) > 25


def test_what_went_wrong_on_a_worker_is_said_here() -> None:
    class Wrapped(Exception):
        cause = ModelFileError("it is damaged")

    try:
        raise RuntimeError("Ray") from Wrapped()
    except RuntimeError as error:
        with pytest.raises(ModelFileError, match="it is damaged"):
            on_ray._raise_ours(error)
    on_ray._raise_ours(RuntimeError("Ray"))  # not ours


@pytest.mark.parametrize("colour", [(250, 40, 40), None])
def test_a_worker_sees_photos_with_both_models_as_the_plain_engine_does(
    colour: tuple[int, int, int] | None, drawn: Splits, encoder: Encoder, tmp_path: Path
) -> None:
    save_folder(drawn.test[:5], tmp_path / "greys")
    with LocalCatalogue.create("greys", encoder) as catalogue:
        FolderSync(encoder, tmp_path / "greys").run(catalogue)
        single = encoder.on_one_thread()
        plain = Reader(single, Viewer(single, catalogue, Models(one_thread=True)))
        kit = on_ray._kit(plain)
        assert kit.photo is not None
        own = kit.own.unpacked()
        there = Reader(own, ray_worker._Eyes(own, kit.photo))
        picture = Image.new("RGB", (90, 90), colour) if colour else Image.new("L", (28, 28), 9)
        here_image, here_small, here_vector = plain.see(written(picture), "a")
        image, small, vector = there.see(written(picture), "a")
        assert small == here_small
        assert (image is None) == (here_image is None) == (colour is not None)
        assert image is None or here_image is None or np.array_equal(image, here_image)
        assert vector is None or here_vector is None or np.array_equal(vector, here_vector)


class _Broken(OnRay):
    """Ray that breaks off after a few pictures, again and again. left: pictures until then, each time."""

    left: ClassVar[list[int]]

    def _stream(self, wanted: Sequence[Wanted], kit: Kit) -> Iterator[list[Decoded | Refused]]:
        for one in wanted[: self.left.pop(0)]:
            yield [Refused(None, one.file)]
        raise RuntimeError("a long story\nand its end.")


_NO_CARD: Any = None
_NO_KIT = Kit(Packed(b"", _NO_CARD), None)


@pytest.mark.parametrize(
    ("left", "done"), [([3, 0, 0, 1], 3), ([3, 0, 3, 0, 0, 4], 6), ([0, 0, 0], 0), ([3, 4, 0, 0, 4], 7), ([7, 3], 10)]
)
def test_what_ray_breaks_off_goes_on_with_the_rest(left: list[int], done: int) -> None:
    wanted = [Wanted(str(number), None, None) for number in range(10)]
    taken: list[tuple[str, str]] = []
    told: list[int] = []

    def take(batch: Sequence[Wanted], pictures: Sequence[Decoded | Refused]) -> None:
        taken.extend(
            (one.file, two.reason) for one, two in zip(batch, pictures, strict=True) if isinstance(two, Refused)
        )

    _Broken.left = [*left, 0, 0, 0]
    with nullcontext() if done == 10 else pytest.raises(ClusterError, match=r"3 times at the same place \(and its end"):
        _Broken()._read(wanted, _NO_KIT, take, lambda now, total: told.append(now))
    assert taken == [(str(number), str(number)) for number in range(done)]
    assert told == sorted(told)


def test_what_cannot_be_written_is_not_laid_at_rays_door() -> None:
    taken: list[int] = []

    def take(batch: Sequence[Wanted], pictures: Sequence[Decoded | Refused]) -> None:
        taken.append(len(batch))
        raise PermissionError(13, "Permission denied", "catalogue")

    _Broken.left = [10, 10, 10]
    with pytest.raises(PermissionError):
        _Broken()._read([Wanted(str(number), None, None) for number in range(10)], _NO_KIT, take, silent)
    assert taken == [10]


def test_a_ray_that_does_not_start_here(shop: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    import ray

    def fail(**options: object) -> None:
        raise Exception("The current node timed out during startup.")  # as Ray itself does

    monkeypatch.setattr(ray, "init", fail)
    code, _, error = cli("index", "sync", shop, "--engine", "ray")
    assert code == 2
    assert one_sentence(error)
    assert "Cannot use a Ray on this machine (The current node timed out during startup)" in error


@pytest.mark.parametrize("when", ["init", "shutdown"])
def test_a_machine_that_goes_away_while_ray_starts_or_stops_is_not_told_among_our_output(
    when: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import ray
    from ray._private.worker import print_worker_logs

    def tell(**options: object) -> None:
        print_worker_logs({"lines": ["Raylet is terminated."], "pid": "raylet", "is_err": False}, sys.stdout)

    for name in ("init", "shutdown"):
        monkeypatch.setattr(ray, name, tell if name == when else lambda **options: None)
    with ray_cluster.connected(None):
        pass
    assert capsys.readouterr() == ("", "")
    tell()  # and Ray is then as it was
    assert "Raylet is terminated." in capsys.readouterr().out


def test_a_machine_with_another_vitrine_or_none(monkeypatch: pytest.MonkeyPatch) -> None:
    import ray

    class Missing(ray.exceptions.RayError):  # type: ignore[misc]  # ray is untyped
        pass

    def fail(_: object) -> None:
        raise Missing("Traceback\nModuleNotFoundError: No module named 'vitrine'")

    monkeypatch.setattr(ray, "get", lambda _: ray_worker.Sight("0.0.1", [5]))
    with pytest.raises(ClusterError, match=r"10\.0\.0\.2 of the Ray cluster has vitrine 0\.0\.1; install vitrine"):
        ray_cluster._check_one(object(), "10.0.0.2", ["a"], [5])
    monkeypatch.setattr(ray, "get", lambda _: ray_worker.Sight(vitrine.__version__, [4]))
    with pytest.raises(ClusterError, match=r"10\.0\.0\.2 of the Ray cluster does not see a; share it"):
        ray_cluster._check_one(object(), "10.0.0.2", ["a"], [5])
    monkeypatch.setattr(ray, "get", fail)
    with pytest.raises(ClusterError, match=r"cannot run vitrine \(ModuleNotFoundError: No module named 'vitrine'\)"):
        ray_cluster._check_one(object(), "10.0.0.2", ["a"], [5])
    with pytest.raises(ClusterError, match="has not answered for 60 s"):
        ray_cluster._check_one(None, "10.0.0.2", ["a"], [5])


# --- on a cluster


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Two machines of one core each, as far as Ray knows."""
    with _cluster() as made:
        _add_machine(made)
        yield made


@pytest.fixture
def alone() -> Iterator[Any]:
    """A machine of one core, which is the head."""
    with _cluster() as made:
        yield made


@contextmanager
def _cluster() -> Iterator[Any]:
    ray_cluster.keep_quiet()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from ray.cluster_utils import Cluster

        made = _patiently(
            lambda: Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "object_store_memory": STORE})
        )
        try:
            yield made
        finally:
            made.shutdown()


def _add_machine(cluster: Any) -> Any:
    return _patiently(lambda: cluster.add_node(num_cpus=1, object_store_memory=STORE, wait=False))


def _patiently(start: Callable[[], Any]) -> Any:
    """Ray gives a machine half a minute to start, which is little where others are at work."""
    for _ in range(4):
        with suppress(Exception):
            return start()
    return start()


def _python(program: str, *arguments: object) -> "subprocess.CompletedProcess[str]":
    line = [sys.executable, "-c", program, *map(str, arguments)]
    return subprocess.run(line, capture_output=True, text=True, check=False, timeout=LONG)


def _sync(folder: Path, name: str, *more: object) -> dict[str, Any]:
    """What `index sync --json` says, and that it says nothing else."""
    ended = _python(PROGRAM, "index", "sync", folder, "--catalogue", name, "--json", *more)
    assert ended.returncode == 0, ended.stderr
    said: dict[str, Any] = json.loads(ended.stdout)
    lines = ended.stderr.splitlines()
    expected = ("Bring ", "Check ", "Left out: ", "  ", f"{name} is searched by ", CRASHED)
    assert [line for line in lines if not line.startswith(expected)] == []
    return said


def _check_alike(first: str, second: str, within: float = 0.0) -> None:
    """Both hold the same, bit for bit, under the same ids; numbers of vectors may be as far apart as that."""
    with LocalCatalogue.open(first) as a, LocalCatalogue.open(second) as b:
        ids, vectors, sources = a.vectors()
        assert len(ids)
        assert np.array_equal(ids, b.vectors()[0])
        assert np.abs(vectors - b.vectors()[1]).max() <= within
        assert sources == b.vectors()[2]
        assert list(a.known()) == list(b.known())
        assert all(a.item(id).thumbnail == b.item(id).thumbnail for id in ids.tolist())


@pytest.mark.slow
def test_two_machines_make_the_catalogue_that_one_process_makes(shop: Path, cluster: Any) -> None:
    time.sleep(2.1)  # from then on the files' times prove something
    plain = _sync(shop, "plain")
    on_two = _sync(shop, "two", "--engine", "ray", "--ray-address", cluster.address)
    assert (on_two["added"], len(on_two["unreadable"])) == (100, 1)
    assert {**on_two, "catalogue": "plain"} == plain
    _check_alike("plain", "two")

    Image.new("L", (28, 28), 99).save(changed := shop / "Dress" / "0003.png")
    (shop / "Bag" / "0008.png").unlink()
    (shop / "Dress" / "broken.jpg").unlink()
    time.sleep(2.1)
    for name, options in (("plain", ()), ("two", ("--engine", "ray", "--ray-address", cluster.address))):
        said = _sync(shop, name, *options)
        assert [said[key] for key in ("added", "replaced", "removed", "unchanged")] == [0, 1, 1, 98]
    _check_alike("plain", "two")

    time.sleep(2.1)
    os.utime(changed)  # it is read again, and found to be the same
    time.sleep(2.1)
    assert _sync(shop, "two", "--engine", "ray", "--ray-address", cluster.address)["unchanged"] == 99
    # nothing is to be read: no cluster is asked
    assert _sync(shop, "two", "--engine", "ray", "--ray-address", "127.0.0.1:1")["unchanged"] == 99


@pytest.mark.slow
def test_a_catalogue_on_milvus(shop: Path, cluster: Any, milvus: Milvus) -> None:
    name = milvus.name("ray")
    said = _sync(shop, name, "--engine", "ray", "--ray-address", cluster.address)
    assert (said["added"], len(said["unreadable"])) == (100, 1)
    _sync(shop, "plain")
    with by_name.open_(name) as there, LocalCatalogue.open("plain") as here:
        assert there.vectors()[2] == here.vectors()[2]
        assert np.abs(there.vectors()[1] - here.vectors()[1]).max() < 1e-6
        assert [(item.source, item.label, item.content) for item in there.known()] == [
            (item.source, item.label, item.content) for item in here.known()
        ]


@pytest.mark.slow
@pytest.mark.parametrize("more", [(), ("--ship",)])
def test_a_parquet_file_and_pictures_that_travel(
    more: tuple[str, ...], drawn: Splits, tmp_path: Path, cluster: Any
) -> None:
    written = [*(images.png(image) for image in drawn.train.images), None, b"text"]
    shop = tmp_path / "shop.parquet"
    pq.write_table(pa.table({"image": written, "label": ["a"] * len(written)}), shop, row_group_size=120)
    time.sleep(2.1)
    plain = _sync(shop, "plain")
    on_two = _sync(shop, "two", "--engine", "ray", "--ray-address", cluster.address, *more)
    assert (on_two["added"], len(on_two["unreadable"])) == (200, 2)
    assert {**on_two, "catalogue": "plain"} == plain
    _check_alike("plain", "two", within=1e-6)  # they were embedded in other company: no row group is twice 25
    if more:
        save_folder(drawn.test, tmp_path / "files")
        time.sleep(2.1)
        _sync(tmp_path / "files", "files")
        _sync(tmp_path / "files", "shipped", "--engine", "ray", "--ray-address", cluster.address, *more)
        _check_alike("files", "shipped")


@pytest.mark.slow
def test_a_machine_that_dies_in_the_middle_takes_nothing_along(many: Path, place: Path, cluster: Any) -> None:
    other = _add_machine(cluster)
    arguments = ["index", "sync", many, "--catalogue", "killed", "--json", "--engine", "ray"]
    with _held(place, *arguments, "--ray-address", cluster.address) as running:
        _wait(running, lambda: (place / other.node_id).exists() and _items("killed"))
        cluster.remove_node(other, allow_graceful=False)
        (place / "go").touch()
        out, error = running.communicate(timeout=LONG)
    assert running.returncode == 0, error
    assert json.loads(out)["added"] == len(list(many.rglob("*.png")))
    assert [
        line for line in error.splitlines() if not line.startswith(("Bring ", "killed is searched by ", CRASHED))
    ] == []
    _sync(many, "plain")
    _check_alike("plain", "killed")


CRASHES = """
import os, signal, sys
from pathlib import Path
from vitrine.cli import main
from vitrine.indexing import on_ray

on_ray.BATCH, first = 25, Path(sys.argv.pop(1))
write = on_ray._Kept.write

def write_and_crash(kept):
    write(kept)
    if kept.done and not first.exists():
        first.touch()
        os.kill(os.getpid(), signal.SIGSEGV)

on_ray._Kept.write = write_and_crash
main()
"""

CRASHES_ON_ITS_WAY_OUT = """
import os
import ray
from vitrine.cli import main

ray.shutdown = os.abort
main()
"""


@pytest.mark.slow
def test_a_crash_in_the_middle_takes_nothing_along(many: Path, cluster: Any, tmp_path: Path) -> None:
    arguments = ["index", "sync", many, "--catalogue", "crashed", "--json"]
    ended = _python(CRASHES, tmp_path / "first", *arguments, "--engine", "ray", "--ray-address", cluster.address)
    assert ended.returncode == 0, ended.stderr
    assert CRASHED in ended.stderr
    said = json.loads(ended.stdout)
    assert said["unchanged"]
    assert said["added"] + said["unchanged"] == len(list(many.rglob("*.png")))
    _sync(many, "plain")
    _check_alike("plain", "crashed", within=1e-6)  # the rest begins with other company


@pytest.mark.slow
def test_a_crash_on_the_way_out_changes_nothing(shop: Path, cluster: Any) -> None:
    arguments = ["index", "sync", shop, "--catalogue", "crashed", "--json"]
    ended = _python(CRASHES_ON_ITS_WAY_OUT, *arguments, "--engine", "ray", "--ray-address", cluster.address)
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout)["added"] == 100
    assert "Bring crashed up to date ..." in ended.stderr
    assert "SIGABRT" not in ended.stderr


@contextmanager
def _held(place: Path, *arguments: object) -> Iterator["subprocess.Popen[str]"]:
    """That command, at work, in a session of its own."""
    line = [sys.executable, "-c", HELD, *map(str, [place, *arguments])]
    with subprocess.Popen(
        line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as running:
        try:
            yield running
        finally:
            running.kill()


def _wait(running: "subprocess.Popen[Any]", event: Callable[[], object]) -> None:
    """Until that has happened, as it must while the program runs."""
    end = time.monotonic() + LONG
    while not event():
        assert running.poll() is None, running.communicate()
        assert time.monotonic() < end
        time.sleep(0.1)


def _items(name: str) -> int:
    with suppress(VitrineError), LocalCatalogue.open(name) as opened:
        return len(opened)
    return 0  # it is not there yet


@pytest.mark.slow
def test_a_head_that_goes_away_is_named(many: Path, place: Path, alone: Any, cli: Cli) -> None:
    arguments = ["index", "sync", many, "--catalogue", "left", "--engine", "ray", "--ray-address", alone.address]
    with _held(place, *arguments) as running:
        _wait(running, lambda: _items("left"))
        alone.head_node.kill_all_processes(check_alive=False, allow_graceful=False)
        _, error = running.communicate(timeout=LONG)
    assert running.returncode == 2
    assert error.splitlines()[-1].startswith("vitrine: Ray has gone away")
    kept, whole = _items("left"), len(list(many.rglob("*.png")))
    assert kept
    assert cli("index", "verify", "left")[0] == 0
    said = _sync(many, "left")
    assert (said["added"], said["unchanged"]) == (whole - kept, kept)


@pytest.fixture
def blind(shop: Path, cluster: Any) -> Iterator[None]:
    """A third machine, to which the shop is an empty folder."""
    if subprocess.run(
        ["unshare", "-m", "mount", "-t", "tmpfs", "none", shop], check=False, capture_output=True
    ).returncode:
        pytest.skip("NOT RUN: needs the right to mount, for a machine that does not see the folder")
    program = Path(sys.executable).with_name("ray")  # which need not be on the PATH
    options = f"--num-cpus=1 --object-store-memory={STORE} --block --disable-usage-stats"
    start = f"mount -t tmpfs none '{shop}' && exec '{program}' start --address={cluster.address} {options}"
    before = _alive(cluster)
    with subprocess.Popen(
        ["unshare", "-m", "sh", "-c", start],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as running:
        try:
            _wait(running, lambda: _alive(cluster) > before)
            yield
        finally:
            running.terminate()


def _alive(cluster: Any) -> int:
    return sum(node["Alive"] for node in cluster.global_state.node_table())


@pytest.mark.slow
@pytest.mark.usefixtures("blind")
def test_a_machine_that_does_not_see_the_folder(shop: Path, cluster: Any) -> None:
    ray = ("--engine", "ray", "--ray-address", cluster.address)
    refused = _python(PROGRAM, "index", "sync", shop, *ray)
    assert refused.returncode == 2
    assert one_sentence(refused.stderr)
    assert f"does not see {shop}/" in refused.stderr
    assert "--ship" in refused.stderr
    _sync(shop, "plain")
    _sync(shop, "shipped", *ray, "--ship")
    _check_alike("plain", "shipped")


@pytest.mark.slow
def test_ctrl_c_leaves_a_sound_catalogue_and_no_ray(many: Path, place: Path, cli: Cli) -> None:
    with _held(place, "index", "sync", many, "--catalogue", "stopped", "--engine", "ray") as running:
        _wait(running, lambda: _items("stopped"))
        assert _rays(running.pid)
        os.killpg(running.pid, signal.SIGINT)  # as a terminal does
        _, error = running.communicate(timeout=LONG)
    assert running.returncode == 130, error
    assert "run the same command again to go on" in error
    assert "Traceback" not in error
    end = time.monotonic() + LONG
    while _rays(running.pid) and time.monotonic() < end:
        time.sleep(0.2)
    assert _rays(running.pid) == []
    assert cli("index", "verify", "stopped")[0] == 0
    kept, whole = _items("stopped"), len(list(many.rglob("*.png")))
    assert 0 < kept < whole
    said = _sync(many, "stopped")
    assert (said["added"], said["unchanged"]) == (whole - kept, kept)


def _rays(session: int) -> list[str]:
    """The processes of Ray in that session of the system's."""
    listed = subprocess.run(["ps", "-s", str(session), "-o", "args="], capture_output=True, text=True, check=False)
    return [line for line in listed.stdout.splitlines() if "ray" in line and "index" not in line]


@pytest.mark.slow
def test_a_ray_of_another_version(shop: Path, cluster: Any) -> None:
    from ray._raylet import GcsClient

    place = (b"CLUSTER_METADATA", b"cluster")
    client = GcsClient(address=cluster.address)
    kept = client.internal_kv_get(*place)
    assert kept is not None
    client.internal_kv_put(place[0], json.dumps({**json.loads(kept), "ray_version": "2.1.0"}).encode(), True, place[1])
    try:
        with (
            pytest.raises(ClusterError, match=r"2\.1\.0.*install the same versions"),
            ray_cluster.connected(cluster.address),
        ):
            pass
    finally:
        client.internal_kv_put(place[0], kept, True, place[1])
