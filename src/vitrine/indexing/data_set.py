"""A data set into a catalogue."""

import hashlib

import numpy as np

from vitrine import images
from vitrine.catalogue import Catalogue, Item
from vitrine.datasets import UNLABELLED, Dataset, Progress, silent
from vitrine.encoder import Encoder
from vitrine.indexing import Report

BATCH = 500


def add_dataset(catalogue: Catalogue, encoder: Encoder, dataset: Dataset, progress: Progress = silent) -> Report:
    """Every image of a data set that already has the look that the model wants. Raises what the catalogue raises."""
    report = Report()
    names = dataset.class_names["en"]
    with catalogue.sole_writer(), images.decoders() as pool:
        there = {item.source: item.content for item in catalogue.known()}
        for first in range(0, len(dataset), BATCH):
            batch = dataset[first : first + BATCH]
            contents = [hashlib.sha256(image).hexdigest()[:32] for image in np.ascontiguousarray(batch.images)]
            pairs = zip(batch.sources, contents, strict=True)
            wanted = [i for i, (source, content) in enumerate(pairs) if there.get(source) != content]
            report.replaced += (changed := sum(batch.sources[i] in there for i in wanted))
            report.added += len(wanted) - changed
            report.unchanged += len(batch) - len(wanted)
            if wanted:
                chosen = batch[np.array(wanted, np.intp)]
                thumbnails = pool.map(images.thumbnail, chosen.images)
                vectors = encoder.run(chosen.images).embeddings
                labels = [names[label] if label != UNLABELLED else None for label in chosen.labels]
                entries = zip(chosen.sources, labels, [contents[i] for i in wanted], vectors, thumbnails, strict=True)
                catalogue.add([Item(*entry) for entry in entries])
            progress(min(first + BATCH, len(dataset)), len(dataset))
    return report
