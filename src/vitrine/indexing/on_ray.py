"""The engine of many machines: pictures are decoded and embedded by Ray, and come back here to be written.

They go through Ray Data as a stream: this process hands out names, workers of one core each read, decode and embed, and
this process takes what comes in the order of the names, so that a catalogue gets the same items under the same ids as
from the engine of one machine. Ray holds workers back while nobody takes what they made. A machine that goes away takes
nothing along: what it had in hand is done again elsewhere. docs/decisions/0012-ray.md has the reasons.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import pyarrow as pa

from vitrine.bridging import Viewer
from vitrine.errors import ClusterError, VitrineError
from vitrine.indexing import ray_cluster, ray_worker
from vitrine.indexing.ray_worker import Kit, Packed
from vitrine.indexing.reading import PART, Decoded, Reader, Refused, Take, Wanted
from vitrine.progress import Progress

BATCH = 500
"""Pictures that are written together, and at most as many that a worker gets at a time."""

_SEGMENT = 500_000  # pictures whose names are with Ray at once
_SHARES = 8  # times that each worker gets some, at least, where there are enough: all end at about the same time
_LOOKED_AT = 3  # pictures that every machine must see before it begins
_READERS = 2  # of a Parquet file, or of what travels, at once
_WEIGHED = 50  # pictures whose size tells
_BYTES = 8 * 2**20  # of pictures that travel together, about
_TURNS = 3  # times in a row that a run may break without a picture more
_STUCK = 600.0  # seconds without any picture
_ADVICE = "look at the machines of the cluster, and run it again to go on"


@dataclass(frozen=True)
class OnRay:
    """See `reading.Engine`. address: of the head of a cluster, HOST:PORT; None starts a Ray on this machine, and stops
    it. ship: pictures are read on this machine, and travel; else every machine reads them by the same paths. workers:
    how many, of one core each; None for as many as there are cores. to_the_end: once all went well, Ray is let go only
    when the process ends.
    """

    address: str | None = None
    ship: bool = False
    workers: int | None = None
    to_the_end: bool = False

    def read(self, wanted: Sequence[Wanted], reader: Reader, take: Take, progress: Progress) -> None:
        """Raises ClusterError as well."""
        with ray_cluster.connected(self.address, self.workers, self.to_the_end):
            some = wanted[:: max(1, len(wanted) // _LOOKED_AT)][:_LOOKED_AT]
            files = [one.place.path if one.place else one.file for one in some]
            ray_cluster.check_sight([] if self.ship else files)
            for first in range(0, len(wanted), _SEGMENT):
                segment = wanted[first : first + _SEGMENT]

                def go_on(done: int, _: int, /, before: int = first) -> None:
                    progress(before + done, len(wanted))

                self._read(segment, _kit(reader), take, go_on)

    def _read(self, wanted: Sequence[Wanted], kit: Kit, take: Take, progress: Progress) -> None:
        """What breaks off is begun again with what is left."""
        kept, failed = _Kept(wanted, take, progress), 0
        while kept.done < len(wanted):
            before = kept.done
            why = _take_all(self._stream(wanted[before:], kit), kept)
            kept.write()
            failed = failed + 1 if kept.done == before else 1
            if failed == _TURNS:
                raise ClusterError(f"Ray broke off {_TURNS} times at the same place ({why}); {_ADVICE}.")

    def _stream(self, wanted: Sequence[Wanted], kit: Kit) -> Iterator[list[Decoded | Refused]]:
        """What became of these pictures, in their order, in batches."""
        import ray
        import ray.data

        _set_up()
        workers = min(self.workers or ray_cluster.cores(), math.ceil(len(wanted) / PART))
        size = min(BATCH, PART * max(1, len(wanted) // (PART * _SHARES * workers)))
        whole = wanted[0].place is not None  # row groups, each read once
        pictures = ray.data.from_arrow(list(_blocks(wanted, _groups(wanted) if whole else range(0, len(wanted), size))))
        if whole or self.ship:
            pictures = pictures.map_batches(
                ray_worker.read,
                fn_args=(min(size, _fitting(wanted)),),
                batch_size=None,
                batch_format="pyarrow",
                compute=ray.data.TaskPoolStrategy(size=_READERS),
                num_cpus=0,  # it waits for the disk; and workers have all cores
                label_selector=ray_cluster.this_machine() if self.ship else None,
            )
        answers = pictures.map_batches(
            ray_worker.Worker,
            fn_constructor_args=([ray.put(kit)],),
            batch_size=None,
            batch_format="pyarrow",
            compute=ray.data.ActorPoolStrategy(
                min_size=1, max_size=workers, initial_size=workers, max_tasks_in_flight_per_actor=2
            ),
            num_cpus=1,
        )
        yield from _in_order(answers.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=1))


def _blocks(wanted: Sequence[Wanted], firsts: Sequence[int]) -> Iterator[pa.Table]:
    """What Ray gets: packed `TASKS`, each from one of these numbers to the next."""
    for first, last in zip(firsts, [*firsts[1:], len(wanted)], strict=True):
        rows = [ray_worker.task(number, wanted[number]) for number in range(first, last)]
        yield ray_worker.packed(pa.Table.from_pylist(rows, schema=ray_worker.TASKS))


def _groups(wanted: Sequence[Wanted]) -> list[int]:
    """Where in a Parquet file's pictures its row groups begin."""
    groups = [one.place and one.place[:2] for one in wanted]
    return [number for number, group in enumerate(groups) if not number or groups[number - 1] != group]


def _fitting(wanted: Sequence[Wanted]) -> int:
    """How many pictures may travel together."""
    some = wanted[:: max(1, len(wanted) // _WEIGHED)]
    sizes = [one.place.size if one.place else ray_worker.size_of(one.file) or 0 for one in some]
    return PART * max(1, _BYTES * len(sizes) // max(1, PART * sum(sizes)))


def _in_order(blocks: Iterable[pa.Table]) -> Iterator[list[Decoded | Refused]]:
    """Packed `ANSWERS` -> what they say."""
    done = 0
    for block in blocks:
        for answers in ray_worker.unpacked(block):
            rows = answers.to_pylist()
            if [row["number"] for row in rows] != list(range(done, done + len(rows))):
                raise ClusterError("Ray gave pictures back in another order; this is a mistake of vitrine's.")
            done += len(rows)
            yield [ray_worker.picture(row) for row in rows]


@dataclass
class _Kept:
    """What came back and is not written yet. done: how many of the wanted ones are written."""

    wanted: Sequence[Wanted]
    take: Take
    progress: Progress
    done: int = 0
    pictures: list[Decoded | Refused] = field(default_factory=list)

    def add(self, pictures: list[Decoded | Refused]) -> None:
        self.pictures += pictures
        self.progress(self.done + len(self.pictures), len(self.wanted))
        if len(self.pictures) >= BATCH:
            self.write()

    def write(self) -> None:
        pictures, self.pictures = self.pictures, []
        if pictures:
            self.take(self.wanted[self.done : self.done + len(pictures)], pictures)
            self.done += len(pictures)


def _take_all(stream: Iterator[list[Decoded | Refused]], kept: _Kept) -> str:
    """What comes is kept; why no more does. What goes wrong with what came is raised: it is not Ray's."""
    import ray.data.exceptions

    while True:
        try:
            pictures = next(stream, None)
        except VitrineError:
            raise
        except Exception as error:  # Ray Data raises nearly anything
            _raise_ours(error)
            if isinstance(error, ray.data.exceptions.ExecutionTimeoutError):
                raise ClusterError(f"No picture came from Ray for {_STUCK:.0f} s; {_ADVICE}.") from error
            return ray_cluster.line(error)
        if pictures is None:
            return "it ended"
        kept.add(pictures)


def _kit(reader: Reader) -> Kit:
    viewer = reader.viewer
    bridge = viewer.bridge if isinstance(viewer, Viewer) else None
    return Kit(Packed.of(reader.encoder), Packed.of(bridge.photo) if bridge else None)


def _set_up() -> None:
    """How Ray Data is to work: in order, bounded, and without a word."""
    from ray.data import DataContext

    context = DataContext.get_current()
    context.execution_options.preserve_order = True
    context.target_max_block_size = 1  # a part that was packed is a block
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.execution_no_progress_timeout_s = _STUCK
    ray_cluster.hush()


def _raise_ours(error: BaseException) -> None:
    """Raise what vitrine itself said on a worker, if that is it."""
    cause: BaseException | None = error
    while cause is not None:
        for one in (cause, getattr(cause, "cause", None)):
            if isinstance(one, VitrineError):
                raise type(one)(str(one)) from error
        cause = cause.__cause__
