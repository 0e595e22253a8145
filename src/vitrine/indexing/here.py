"""The engine of one machine: pictures are decoded and embedded on the threads of this process, one a core."""

import math
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from vitrine import images, storage
from vitrine.indexing import reading
from vitrine.indexing.reading import Decoded, Reader, Refused, Take, Wanted
from vitrine.progress import Progress

BATCH = 500


class Here:
    """See `reading.Engine`. While one batch is written, the next is decoded and embedded."""

    def read(self, wanted: Sequence[Wanted], reader: Reader, take: Take, progress: Progress) -> None:
        batches = [wanted[first : first + BATCH] for first in range(0, len(wanted), BATCH)]
        done = 0
        with images.decoders() as pool:
            try:
                following = _submit(reader, pool, batches[0]) if batches else []
                for number, batch in enumerate(batches, 1):
                    parts = following
                    following = _submit(reader, pool, batches[number]) if number < len(batches) else []
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


def _submit(
    reader: Reader, pool: ThreadPoolExecutor, batch: Sequence[Wanted]
) -> list["Future[list[Decoded | Refused]]"]:
    size = min(reading.PART, math.ceil(len(batch) / storage.cores()))
    return [pool.submit(reader.embed, batch[first : first + size]) for first in range(0, len(batch), size)]
