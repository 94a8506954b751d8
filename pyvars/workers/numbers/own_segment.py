"""The segment of this process, read by itself, as its peers read it."""

from contextlib import suppress
from threading import RLock
from time import sleep

from pyvars.formats.json import to_json
from pyvars.runtime import runtime_figures, without_names
from pyvars.workers.numbers.layout import SegmentLayout, parse
from pyvars.workers.numbers.plan import Source
from pyvars.workers.numbers.segment import H_GENERATION, Segment, record_area

__all__ = ("OwnSegment",)

_ATTEMPTS = 10


class OwnSegment:
    """The names, numbers and runtime figures in the segment of this process. Thread-safe."""

    def __init__(self, segment: Segment) -> None:
        self._segment = segment
        self._layout: tuple[int, SegmentLayout] | None = None
        self._figures: dict[str, object] = {}
        self._lock = RLock()  # reentrant: a signal handler may read a page while its thread is here

    def layout(self) -> SegmentLayout:
        """The layout of the segment; it is parsed again if the generation has changed."""
        header = self._segment.header
        generation: int = header[H_GENERATION]
        if self._layout is None or self._layout[0] != generation:
            areas = [self._segment.read(*record_area(chunk)) for chunk in range(self._segment.chunks)]
            self._layout = generation, parse(areas, self._segment.used, True)
        return self._layout[1]

    def source(self) -> Source:
        """The current numbers of this process, with the layout that they belong to."""
        words, layout = self._segment.numbers(), self.layout()
        for _ in range(_ATTEMPTS):  # until no record has changed while the words were copied
            settled = self._segment.header[H_GENERATION] % 2 == 0
            before, words, layout = layout, self._segment.numbers(), self.layout()
            if layout is before and settled:
                break
            sleep(0)
        numbers = memoryview(words)
        return Source(layout, numbers.cast("q"), numbers.cast("d"), True)

    def write_figures(self) -> None:
        """Read the runtime figures, and write them to the segment if they have changed since the last call.

        Peers keep the figures from before if JSON cannot hold the new ones, or if these are too long; likewise those of
        a built-in variable that cannot be read now.
        """
        with self._lock:
            figures = {**self._figures, **runtime_figures()}
            if any(self._figures.get(key) is not each for key, each in figures.items()):
                self._figures = figures
                with suppress(TypeError):
                    self._segment.write_figures(to_json(without_names(figures)))

    def figures(self, target: str) -> object:
        """The figures of a built-in variable, given by its import string, as of the last `write_figures`; or None.

        So this process adds up the figures that its peers add up, and no count falls from one page to the next.
        """
        return self._figures.get(target)
