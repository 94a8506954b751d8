"""`pyvars workers`: prints the table of the worker processes of a running program."""

from collections.abc import Iterator, Sequence
from typing import cast

from pyvars.cli.figures import Figure, human, printable, unit_of
from pyvars.cli.reader import Page, Shown, reader, show

__all__ = ("main",)

ORDER = ("pid", "state", "answered", "lag", "flight", "oldest", "requests", "heap", "rss", "cpu", "threads", "start")
"""The order of the columns, by a word in the key of each. Columns whose key has none of these words come last."""


def main(arguments: Sequence[str]) -> int:
    """Run the command. Returns the exit status."""
    options = reader("workers").parse_args(arguments)
    if options.url.endswith("/debug/vars"):  # the URL that `python -m pyvars --port 0` prints
        options.url = f"{options.url.removesuffix('vars')}workers"
    return show(options, _view, path="/debug/workers")


def _view(page: Page) -> Shown:
    found = page.get("workers")
    rows = cast("list[object]", found) if isinstance(found, list) else []
    workers = [cast("dict[str, object]", row) for row in rows if isinstance(row, dict)]
    workers.sort(key=lambda worker: worker.get("state", "ok") == "ok")  # workers that are not ok come first
    if not workers:
        raise ValueError("the response is no list of workers")
    return Shown([*_table(workers), *_summary(page)], ())


def _table(workers: list[dict[str, object]]) -> Iterator[str]:
    """A line of titles and one for each worker. Numbers are aligned on the right, texts on the left."""
    keys = sorted(dict.fromkeys(key for worker in workers for key in worker), key=_place)
    columns: list[list[str]] = []
    for key in keys:
        cells = [_cell(key, worker.get(key)) for worker in workers]
        title = printable(key.removesuffix("_seconds").removesuffix("_bytes").replace("_", " "))
        width = max(map(len, (title, *cells)))
        right = any(type(worker.get(key)) in (int, float) for worker in workers)  # a bool is shown as a word
        columns.append([f"{cell:>{width}}" if right else f"{cell:{width}}" for cell in (title, *cells)])
    for line in zip(*columns, strict=True):
        yield "  ".join(line).rstrip()


def _place(key: str) -> int:
    return next((place for place, word in enumerate(ORDER) if word in key.lower()), len(ORDER))


def _cell(key: str, value: object) -> str:
    if value is None or isinstance(value, bool):
        return {None: "-", True: "yes", False: "no"}[value]
    return human(Figure(key, value, unit_of(key) or ("B" if key.startswith("Heap") else "")))


def _summary(page: Page) -> Iterator[str]:
    """The figures of all workers together, on one line, then one line for each text."""
    items = [(key, value) for key, value in page.items() if key != "workers" and not isinstance(value, str)]
    yield ", ".join(f"{printable(key)} {_cell(key, value)}" for key, value in items)
    for key, value in page.items():
        if isinstance(value, str) and value:
            yield f"{printable(key)}: {printable(value)}"
