"""A data set into a catalogue."""

import numpy as np

from vitrine import images
from vitrine.catalogue import Catalogue, Item, content_hash
from vitrine.datasets import UNLABELLED, Dataset
from vitrine.encoder import Encoder
from vitrine.indexing import Report
from vitrine.progress import Progress, silent

BATCH = 500


def add_dataset(catalogue: Catalogue, encoder: Encoder, dataset: Dataset, progress: Progress = silent) -> Report:
    """Every image of a data set that has the look that the model wants but for its size, to which it is brought: a
    catalogue keeps images as small as they are. Raises what the catalogue raises.
    """
    report = Report()
    names = dataset.class_names["en"]
    with catalogue.sole_writer(), images.decoders() as pool:
        there = {item.source: item.content for item in catalogue.known()}
        for first in range(0, len(dataset), BATCH):
            batch = dataset[first : first + BATCH]
            contents = [content_hash(image.tobytes()) for image in batch.images]
            pairs = zip(batch.sources, contents, strict=True)
            wanted = [i for i, (source, content) in enumerate(pairs) if there.get(source) != content]
            report.replaced += (changed := sum(batch.sources[i] in there for i in wanted))
            report.added += len(wanted) - changed
            report.unchanged += len(batch) - len(wanted)
            if wanted:
                chosen = batch[np.array(wanted, np.intp)]
                thumbnails = pool.map(images.png, chosen.images)  # whole, for `rebuild`
                vectors = encoder.run(images.resize(chosen.images, encoder.card.image)).embeddings
                labels = [names[label] if label != UNLABELLED else None for label in chosen.labels]
                entries = zip(chosen.sources, labels, [contents[i] for i in wanted], vectors, thumbnails, strict=True)
                catalogue.add([Item(*entry) for entry in entries])
            progress(min(first + BATCH, len(dataset)), len(dataset))
    return report
