"""Pictures into a catalogue, in batches: what is there already is left alone, so a stopped run goes on.

data_set.py     every image of a data set
folder.py       a folder of pictures, once or again and again: what is new, changed or gone
from_parquet.py a Parquet file of pictures, likewise
picture_rows.py its rows: names, columns, and the pictures in the order in which they lie there
reading.py      pictures read, decoded and embedded; what an engine does
here.py         the engine of this machine: all its cores
on_ray.py       the engine of many machines: a Ray cluster
ray_worker.py   what runs there
ray_cluster.py  Ray found or started, asked what it sees, and left as it was
rebuild.py      what is there already, by another model
items_csv.py    what a CSV beside the pictures says of them
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from vitrine.datasets.image_folder import Unreadable


@dataclass(frozen=True)
class Unmatched:
    """A line of a CSV whose picture is not there."""

    line: int
    file: str


@dataclass
class Report:
    """added: new items. replaced: items whose picture had changed. removed: items whose picture is gone. unchanged:
    items that were there already, columns_updated of them with other columns or another label now. unreadable: files
    that were left out. unmatched: lines of the CSV without a picture.
    """

    added: int = 0
    replaced: int = 0
    removed: int = 0
    unchanged: int = 0
    columns_updated: int = 0
    unreadable: list[Unreadable] = field(default_factory=list)
    unmatched: Sequence[Unmatched] = ()

    @property
    def changed(self) -> int:
        """How many items are not as they were."""
        return self.added + self.replaced + self.removed + self.columns_updated
