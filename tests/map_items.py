"""Items for the tests of the map."""

from dataclasses import replace

import numpy as np
from PIL import Image

from pictures import random_items, written
from vitrine.catalogue import Item

SIZE = 187  # numbers of an embedding


def clustered(count: int, seed: int = 0, start: int = 0) -> list[Item]:
    """Items in three groups, with pictures."""
    random = np.random.default_rng(seed)
    items = random_items(count, SIZE, seed, start)
    found = []
    for number, item in enumerate(items, start):
        vector = np.eye(SIZE)[number % 3] + 0.05 * random.normal(size=SIZE)
        vector = (vector / np.linalg.norm(vector)).astype(np.float32)
        picture = Image.new("L", (28, 20 + number % 9), 40 + number % 200)
        found.append(replace(item, vector=vector, label=f"class {number % 3}", thumbnail=written(picture)))
    return found
