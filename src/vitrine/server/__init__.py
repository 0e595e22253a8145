"""The HTTP API and the page: `vitrine serve`. Routes parse, make one call and answer; docs/server.md tells of them.

app.py           all of it put together
asking.py        routes: classify, search, compare
items.py         routes: an item, its picture, adding, removing
about.py         routes: model card, catalogue, health, readiness, metrics
schemas.py       what is taken and answered, for OpenAPI
uploads.py       pictures as they come in a form
answers.py       what the routes call, on one opened catalogue
desks.py         threads with an opened catalogue each
limits.py        how large, how long, how many at a time
security.py      who may ask: Host, Origin, token; headers of answers
problems.py      errors as RFC 9457
counters.py      what /metrics tells
static_files.py  the page's files, read once
heads.py         HEAD for every GET
connections.py   clients that are slow, or too many
running.py       a socket, uvicorn, Ctrl-C
"""
