"""The engine of one machine: pictures are decoded and embedded on the threads of this process, one a core."""

import math
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice

from vitrine import images, storage
from vitrine.indexing import reading
from vitrine.indexing.reading import Decoded, Reader, Refused, Take, Wanted
from vitrine.progress import Progress

BATCH = 500
_BYTES = 64 * 2**20  # that are read ahead out of a Parquet file, for a batch

_Submitted = tuple[Sequence[Wanted], list["Future[list[Decoded | Refused]]"]]


class Here:
    """See `reading.Engine`. While one batch is written, the next is decoded and embedded."""

    def read(self, wanted: Sequence[Wanted], reader: Reader, take: Take, progress: Progress) -> None:
        batches = _batches(wanted)
        done = 0
        with images.decoders() as pool:
            try:
                following = _submit(reader, pool, next(batches, ()))
                while following:
                    batch, parts = following
                    following = _submit(reader, pool, next(batches, ()))
                    pictures: list[Decoded | Refused] = []
                    for part in parts:
                        pictures += part.result()
                        progress(done + len(pictures), len(wanted))
                    done += len(batch)
                    take(batch, pictures)
            except BaseException:
                reader.stopped.set()
                pool.shutdown(cancel_futures=True)
                raise


def _batches(wanted: Sequence[Wanted]) -> Iterator[Sequence[Wanted]]:
    """Those of a Parquet file with their bytes, no more at a time than memory has room for."""
    pictures: Iterator[Wanted] = iter(wanted)
    if wanted and wanted[0].place:
        from vitrine.indexing.picture_rows import loaded

        pictures = loaded(wanted)
    first = 0
    while first < len(wanted):
        last, size = first, 0
        while last < len(wanted) and last - first < BATCH and size < _BYTES:
            place = wanted[last].place
            size += place.size if place else 0
            last += 1
        yield list(islice(pictures, last - first))
        first = last


def _submit(reader: Reader, pool: ThreadPoolExecutor, batch: Sequence[Wanted]) -> "_Submitted | None":
    """None for an empty batch."""
    if not batch:
        return None
    size = min(reading.PART, math.ceil(len(batch) / storage.cores()))
    parts = [pool.submit(reader.embed, batch[first : first + size]) for first in range(0, len(batch), size)]
    return batch, parts
