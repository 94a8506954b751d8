"""Keeps the records of this process's segment in step with its registries: which names there are, and their words.

A container tells when something else stands under a key of it, and what stood there before. What stands there now is
compared with what the segment says. Whoever comes while another (or the same thread, interrupted by a signal handler
or a finalizer) is about it leaves the change in a queue and goes on, so nobody ever waits here.

Nothing is kept for a number but its variable and the place of its record, in two arrays: a program may have 100,000.
"""

from array import array
from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from threading import Lock
from typing import TypeAlias, cast
from weakref import ref

from pyvars.core.cells import NumberCell
from pyvars.core.registry import Registry
from pyvars.core.variables import Container, Var, is_own
from pyvars.workers.numbers.segment import CONTAINER, FIRST_WORD, FLOAT, HISTOGRAM, INT, MAP, WORDS, Segment

__all__ = ("Tree",)

Before: TypeAlias = "Var | Mapping[str, Var] | None"


class _Watch:
    """The watcher of a container, and so its place in the tree."""

    __slots__ = ("container", "tree", "word")

    def __init__(self, tree: "Tree", container: "Container | ref[Registry]", word: int) -> None:
        self.tree: Tree = tree
        self.container: Container | ref[Registry] = container
        self.word: int = word

    def __call__(self, key: str | None, before: Before) -> None:
        self.tree.changed(self, key, before)

    def get(self) -> Container | None:
        """The container, if it is still there: a root is not kept alive for being shared."""
        return self.container() if isinstance(self.container, ref) else self.container


class Tree:
    """The variables of this process that are in its segment."""

    def __init__(self, segment: Segment) -> None:
        self.error: str = ""
        """Why some number is private to this process; empty if none is."""
        self._segment = segment
        self._held: list[NumberCell | _Watch | None] = [None] * FIRST_WORD  # by word
        self._places = array("I", bytes(4 * FIRST_WORD))  # of the record of each word
        self._more: dict[int, list[int]] = {}  # further places, of variables that have several names
        self._waiting: deque[Callable[[], None]] = deque()
        self._busy = Lock()
        self._closed = False

    def add_root(self, name: str, registry: Registry) -> None:
        """Share a registry under a name that is its name in the siblings too, for as long as it lives."""
        self._do(partial(self._add_root, name, registry))

    def _add_root(self, name: str, registry: Registry) -> None:
        if (word := self._word(registry)) != 0:  # it stands in another one already
            self._link(0, name, CONTAINER, word, gauge=False, place=0)
            return
        watch = _Watch(self, registry, 0)
        watch.container = ref(registry, lambda _: self.changed(watch, None, None))
        try:
            self._hold(watch, self._segment.allocate())
            registry.watcher = watch
            self._link(0, name, CONTAINER, watch.word, gauge=False, place=0)
        except OSError as error:
            self.error = error.strerror or str(error)
            return
        self._waiting.append(partial(self._process, watch, None, None))

    def leave(self) -> None:
        """Follow no more changes: the interpreter is on its way out."""
        self._closed = True

    def close(self) -> None:
        """Make every number private, with the value that it has, and watch no container any more."""
        self._closed = True
        for held in self._held:
            if isinstance(held, NumberCell):
                held.unbind()
            elif held is not None and (container := held.get()) is not None:
                container.watcher = None

    def abandon(self) -> None:
        """In a forked child: the same, from zero, and also what another thread of the parent was about to put in."""
        self._closed = True
        watches = [held for held in self._held if isinstance(held, _Watch)]
        for held in self._held:
            if isinstance(held, NumberCell):
                held.restart()
        for watch in watches:
            container = watch.get()
            if container is not None:
                container.watcher = None
                for var in (container.children() or {}).values():
                    if _kind(var) in (INT, FLOAT):
                        cast("NumberCell", var).restart()

    def changed(self, watch: _Watch, key: str | None, before: Before) -> None:
        """Something else stands under the key than `before`; under any key that `before` has, if it is None."""
        if self._closed:  # at the end a registry may outlive the names in this module
            return
        self._do(partial(self._process, watch, key, before))

    def _do(self, change: Callable[[], None]) -> None:
        """Make a change of records, unless somebody is about that: then after it."""
        self._waiting.append(change)
        while self._waiting and not self._closed and self._busy.acquire(blocking=False):
            try:
                while self._waiting and not self._closed:
                    self._waiting.popleft()()
            finally:
                self._busy.release()

    def _process(self, watch: _Watch, key: str | None, before: Before) -> None:
        if self._held[watch.word] is not watch:  # it was given up meanwhile
            return
        container = watch.get()
        if container is None:
            self._give_up(watch.word)
        elif key is not None:
            self._update(watch.word, container, key, cast("Var | None", before))
        else:
            for each, var in cast("Mapping[str, Var]", before or {}).items():
                self._update(watch.word, container, each, var)
            for each in container.children() or {}:
                self._update(watch.word, container, each, None)

    def _update(self, parent: int, container: Container, key: str, before: Var | None) -> None:
        now = container.child(key)
        if before is now and before is not None:
            return
        old, old_place = self._find(parent, key, before)
        if now is None or not (kind := _kind(now)):
            if old_place:
                self._unlink(old, old_place)
            return
        word, place = self._find(parent, key, now)
        if place:  # a change that came later was quicker
            if old_place and old != word:
                self._unlink(old, old_place)
            return
        try:
            word = word or self._admit(now, kind)
            gauge = isinstance(now, NumberCell) and now.gauge
            self._link(parent, key, kind, word, gauge=gauge, place=old_place)
        except OSError as error:  # no room: it counts on in private memory
            self.error = error.strerror or str(error)
            if word and not self._places[word]:
                self._give_up(word)
            if old_place:
                self._unlink(old, old_place)
            return
        if old_place:
            self._left(old, old_place)

    def _find(self, parent: int, key: str, var: Var | None) -> tuple[int, int]:
        """The word of the variable, and the place of its record under this key; 0 if there is none."""
        word = self._word(var)
        for place in self._all_places(word) if word else ():
            if self._segment.at(place) == (parent, key):
                return word, place
        return word, 0

    def _word(self, var: Var | None) -> int:
        """The word of a variable that has one, or 0."""
        if isinstance(var, NumberCell):
            words = getattr(var, "_words", None)
            word = self._segment.chunk_of(words) * WORDS + var._index if words is not None else 0
            return word if word and self._held[word] is var else 0
        if isinstance(var, Container):
            watch = getattr(var, "watcher", None)
            return watch.word if isinstance(watch, _Watch) and watch.tree is self else 0
        return 0

    def _all_places(self, word: int) -> list[int]:
        return [self._places[word], *self._more.get(word, ())]

    def _admit(self, var: Var, kind: int) -> int:
        """Give the variable a word."""
        word = self._segment.allocate()
        if isinstance(var, NumberCell):
            self._hold(var, word)
            var.bind(*self._segment.word(word, kind))
        else:
            watch = _Watch(self, cast("Container", var), word)
            self._hold(watch, word)
            cast("Container", var).watcher = watch
            self._waiting.append(partial(self._process, watch, None, None))
        return word

    def _hold(self, what: NumberCell | _Watch, word: int) -> None:
        while len(self._held) <= word:
            self._held.append(None)
            self._places.append(0)
        self._held[word] = what
        self._places[word] = 0
        if isinstance(what, _Watch):
            what.word = word

    def _link(self, parent: int, key: str, kind: int, word: int, *, gauge: bool, place: int) -> None:
        """Write the record, in place of another of the same key if there is one: no reader misses it in between."""
        with self._segment.changing():
            place = self._segment.link(parent, key, kind, word, gauge=gauge, place=place)
        if self._places[word]:
            self._more.setdefault(word, []).append(place)
        else:
            self._places[word] = place

    def _unlink(self, word: int, place: int) -> None:
        with self._segment.changing():
            self._segment.unlink(place)
        self._left(word, place)

    def _left(self, word: int, place: int) -> None:
        """The record there is no more of this word; with its last one it is nobody's."""
        places = self._all_places(word)
        places.remove(place)
        self._places[word] = places[0] if places else 0
        self._more.pop(word, None)
        if places[1:]:
            self._more[word] = places[1:]
        if not places:
            self._give_up(word)

    def _give_up(self, word: int) -> None:
        """Free the word, its records, and what only it holds."""
        held, self._held[word] = self._held[word], None
        for place in self._all_places(word):
            if place:
                with self._segment.changing():
                    self._segment.unlink(place)
        self._places[word] = 0
        self._more.pop(word, None)
        if isinstance(held, NumberCell):
            held.unbind()
        elif held is not None and (container := held.get()) is not None:
            container.watcher = None
            for key, var in (container.children() or {}).items():
                child, place = self._find(word, key, var)
                if place:
                    self._unlink(child, place)
        else:
            self._unlink_children(word)
        self._segment.free(word)

    def _unlink_children(self, parent: int) -> None:
        """Of a root that has gone, and so cannot tell which they are."""
        for child in range(FIRST_WORD, len(self._held)):
            for place in self._all_places(child):
                if place and self._segment.at(place)[0] == parent:
                    self._unlink(child, place)


_CONTAINERS = {"map": MAP, "histogram": HISTOGRAM}


def _code(cell: NumberCell) -> int:
    return FLOAT if cell.code == "d" else INT


def _kind(var: Var) -> int:
    """The kind of record for the variable; 0 for what is not made of cells, or is code of the program's."""
    if not is_own(type(var)):
        return 0
    if isinstance(var, NumberCell):
        return _code(var) if hasattr(var, "_value") else 0  # a subclass may have forgotten to initialise it
    if isinstance(var, Container) and hasattr(var, "watcher"):
        return _CONTAINERS.get(var.kind, CONTAINER)
    return 0
