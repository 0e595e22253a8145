"""Pictures that vitrine draws. Nothing is computed here; every function writes one PNG, atomically, and returns
nothing.

Figures are made without pyplot: no global state, no display.

tiles.py    pictures beside each other: grids, neighbours, groups, pairs, items with their probabilities
heat.py     where a model looked
charts.py   curves, confusion matrix, measures of classes, histogram, reliability
maps.py     scatter of a map, the same map once for each class, the map of a whole collection by class or by a share
"""

from vitrine.plots.charts import Curves, confusion, curves, distances, per_class, reliability
from vitrine.plots.heat import heat
from vitrine.plots.maps import by_class, by_share, collection, scatter
from vitrine.plots.tiles import PLAIN, RIGHT, WRONG, Answered, Tile, answers, grid, groups, neighbours, pair, pairs

__all__ = [
    "PLAIN",
    "RIGHT",
    "WRONG",
    "Answered",
    "Curves",
    "Tile",
    "answers",
    "by_class",
    "by_share",
    "collection",
    "confusion",
    "curves",
    "distances",
    "grid",
    "groups",
    "heat",
    "neighbours",
    "pair",
    "pairs",
    "per_class",
    "reliability",
    "scatter",
]
