"""`pyvars get`: prints the figures of a running program."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple, cast

from pyvars.cli.figures import Figure, figures_in, human, plain, printable
from pyvars.cli.reader import Page, Shown, reader, show

__all__ = ("main",)


class Row(NamedTuple):
    """A line to print."""

    worker: str
    """The pid of the worker, if the pages of all workers were requested; else empty."""
    figure: Figure
    reason: str
    """Why the value is null, old or cut: its `type` in `pyvars.errors`; empty if there is none."""


def main(arguments: Sequence[str]) -> int:
    """Run the command. Returns the exit status."""
    parser = reader("get")
    parser.add_argument("names", nargs="*")
    parser.add_argument("--human", action="store_true")
    parser.add_argument("--worker")
    options = parser.parse_intermixed_args(arguments)
    worker: str | None = options.worker
    if worker is not None and worker != "all" and not (worker.isascii() and worker.isdecimal()):
        parser.error(f"--worker takes a pid or all, got {worker!r}")

    def view(page: Page) -> Shown:
        rows, missing = _rows(page)
        unknown = [name for name in options.names if not any(_is_below(row.figure.name, name) for row in rows)]
        missing += [f"no variable {name!r} on the page" for name in unknown]
        return Shown(_lines(_chosen(rows, options.names), options.names, in_units=options.human), missing)

    return show(options, view, path="/debug/vars", query=f"worker={worker}" if worker else "")


def _rows(page: Page) -> tuple[list[Row], list[str]]:
    """The rows of a page, or of the pages of all workers by pid; and a line for each worker without a page."""
    if not page or not all(pid.isdecimal() and isinstance(value, dict) for pid, value in page.items()):
        return list(_of_page("", page)), []
    rows: list[Row] = []
    missing: list[str] = []
    for pid in sorted(page, key=int):
        part = cast("Page", page[pid])
        if part == {"error": "timeout"}:
            missing.append(f"the worker {pid} did not answer in time")
        else:
            rows += _of_page(pid, part)
    return rows, missing


def _of_page(worker: str, page: Page) -> Iterator[Row]:
    errors = page.get("pyvars.errors")
    reasons = cast("dict[str, object]", errors) if isinstance(errors, dict) else {}
    for figure in figures_in(page):
        reason = reasons.get(figure.name)
        kind = cast("dict[str, object]", reason).get("type") if isinstance(reason, dict) else None
        yield Row(worker, figure, kind if isinstance(kind, str) else "")


def _chosen(rows: list[Row], names: Sequence[str]) -> list[Row]:
    return [row for row in rows if not names or any(_is_below(row.figure.name, name) for name in names)]


def _is_below(figure: str, name: str) -> bool:
    return figure == name or figure.startswith(f"{name}.")


def _lines(rows: list[Row], names: Sequence[str], *, in_units: bool) -> Iterator[str]:
    """A line for each row, aligned."""
    width = max((len(printable(row.figure.name)) for row in rows), default=0)
    pids = max((len(row.worker) for row in rows), default=0)
    for worker, figure, reason in rows:
        shown = (human if in_units else plain)(figure, whole=figure.name in names)
        pid = f"{worker:{pids}}  " if pids else ""
        yield f"{pid}{printable(figure.name):{width}}  {shown}{f' ({printable(reason)})' if reason else ''}"
