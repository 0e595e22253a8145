"""A catalogue on a Milvus server. It does what the one on this machine does (local.py), for more items than fit there,
and for several machines that search and write in turn.

catalogue.py  the back end itself
address.py    where it is, and how it is reached
link.py       the connection, its patience
refusals.py   what it refuses, in words
tables.py     its collections, an item as a row
records.py    what it says of itself, and its model
writer.py     one writes at a time
writing.py    changes that are there as a whole or not at all
search.py     the nearest, exactly in order
filters.py    filters as Milvus takes them
model.py      the model that made it
making.py     how one comes about, is opened, and goes
staging.py    where a copy is made before it counts

docs/decisions/0011-milvus.md has the reasons.
"""
