"""Keeps the records in the segment of this process in step with its registries: the names, and the word of each.

When a variable is put under a key of a composite, replaced or deleted, the composite calls its `_on_change` with the
key and the variable that was under it before. The records are then changed to match the variable that is under it now.
One thread at a time changes records. If another thread has a change meanwhile (or the same thread, interrupted by a
signal handler or a finalizer), it appends the change to a queue and returns. So no thread ever waits here.

For a number only its variable and the offset of its record are kept, in two arrays: a program may have 100,000 numbers.
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
from pyvars.core.variables import Composite, Var, is_pyvars_code
from pyvars.workers.numbers.segment import COMPOSITE, FIRST_WORD, FLOAT, HISTOGRAM, INT, MAP, WORDS
from pyvars.workers.numbers.worker_segment import WorkerSegment

__all__ = ("Records",)

Before: TypeAlias = "Var | Mapping[str, Var] | None"


class _Node:
    """The `_on_change` of a composite that has a word in the segment."""

    __slots__ = ("composite", "records", "word")

    def __init__(self, records: "Records", composite: "Composite | ref[Registry]", word: int) -> None:
        self.records: Records = records
        self.composite: Composite | ref[Registry] = composite
        self.word: int = word

    def __call__(self, key: str | None, before: Before) -> None:
        self.records.changed(self, key, before)

    def get(self) -> Composite | None:
        """The composite; None if it was a shared registry, and no longer exists: sharing does not keep it alive."""
        return self.composite() if isinstance(self.composite, ref) else self.composite


class Records:
    """The records of the variables of this process in its segment.

    `add_registry` and `changed` are thread-safe, and never block.
    """

    def __init__(self, segment: WorkerSegment) -> None:
        self._segment = segment
        self._owners: list[NumberCell | _Node | None] = [None] * FIRST_WORD  # by word: the variable that has it
        self._offsets = array("I", bytes(4 * FIRST_WORD))  # by word: the offset of its first record; 0 if it has none
        self._more: dict[int, list[int]] = {}  # by word: offsets of its further records, if it has several names
        self._waiting: deque[Callable[[], None]] = deque()
        self._busy = Lock()
        self._closed = False

    def add_registry(self, name: str, registry: Registry) -> None:
        """Share a registry under its registry key `name`, for as long as the registry exists."""
        self._do(partial(self._add_registry, name, registry))

    def _add_registry(self, name: str, registry: Registry) -> None:
        if (word := self._word(registry)) != 0:  # it is published in another shared registry, and so has a word already
            self._link(0, name, COMPOSITE, word, gauge=False, offset=0)
            return
        node = _Node(self, registry, 0)
        node.composite = ref(registry, lambda _: self.changed(node, None, None))
        self._own(node, self._segment.allocate())
        registry._on_change = node
        self._link(0, name, COMPOSITE, node.word, gauge=False, offset=0)
        self._waiting.append(partial(self._process, node, None, None))

    @property
    def error(self) -> str:
        """Why some numbers of this process are private to it; empty if none are."""
        return self._segment.error

    def keep(self, cell: NumberCell, word: int) -> None:
        """Keep a number of pyvars itself in a word of the header."""
        self._owners[word] = cell
        cell._bind(*self._segment.word(word, _code(cell)))

    def settle(self) -> None:
        """Move private numbers to the file, as far as there is room for them now."""
        if self._segment.error:
            self._do(partial(self._segment.settle, self._bind))

    def _bind(self, chunk: int) -> None:
        for word in range(chunk * WORDS, min((chunk + 1) * WORDS, len(self._owners))):
            held = self._owners[word]
            if isinstance(held, NumberCell):
                held._bind(*self._segment.word(word, _code(held)))

    def stop(self) -> None:
        """Ignore changes from now on: the process is about to exit."""
        self.settle()
        self._closed = True

    def close(self) -> None:
        """Make every number private, with its current value, and set every `_on_change` to None."""
        self._closed = True
        for held in self._owners:
            if isinstance(held, NumberCell):
                held._unbind()
            elif held is not None and (composite := held.get()) is not None:
                composite._on_change = None

    def detach_in_child(self) -> None:
        """In a forked child, do the same as `close`, but set every number to 0.

        That includes numbers that another thread of the parent was about to add to the segment at the fork.
        """
        self._closed = True
        nodes = [held for held in self._owners if isinstance(held, _Node)]
        for held in self._owners:
            if isinstance(held, NumberCell):
                held._restart()
        for node in nodes:
            composite = node.get()
            if composite is not None:
                composite._on_change = None
                for var in (composite._children() or {}).values():
                    if _kind(var) in (INT, FLOAT):
                        cast("NumberCell", var)._restart()

    def changed(self, node: _Node, key: str | None, before: Before) -> None:
        """Update the records of a composite, in which another variable than `before` may be under `key` now.

        If `key` is None, every key may have changed, and `before` has the variables that were there before, by key.
        """
        if self._closed:  # at exit a registry may still change when the globals of this module are gone
            return
        self._do(partial(self._process, node, key, before))

    def _do(self, change: Callable[[], None]) -> None:
        """Make a change of records now. If another one is being made, queue it for the thread that makes that one."""
        self._waiting.append(change)
        while self._waiting and not self._closed and self._busy.acquire(blocking=False):
            try:
                while self._waiting and not self._closed:
                    self._waiting.popleft()()
            finally:
                self._busy.release()

    def _process(self, node: _Node, key: str | None, before: Before) -> None:
        if self._owners[node.word] is not node:  # the composite was removed meanwhile, and its word freed
            return
        composite = node.get()
        if composite is None:
            self._free(node.word)
        elif key is not None:
            self._update(node.word, composite, key, cast("Var | None", before))
        else:
            for each, var in cast("Mapping[str, Var]", before or {}).items():
                self._update(node.word, composite, each, var)
            for each in composite._children() or {}:
                self._update(node.word, composite, each, None)

    def _update(self, parent: int, composite: Composite, key: str, before: Var | None) -> None:
        now = composite._child(key)
        if before is now and before is not None:
            return
        old, old_offset = self._find(parent, key, before)
        if now is None or not (kind := _kind(now)):
            if old_offset:
                self._unlink(old, old_offset)
            return
        word, offset = self._find(parent, key, now)
        if offset:  # an earlier change has written this record: `now` was under the key by then
            if old_offset and old != word:
                self._unlink(old, old_offset)
            return
        gauge = isinstance(now, NumberCell) and now.gauge
        numbers = isinstance(before, NumberCell) and isinstance(now, NumberCell)
        if self._segment.error and numbers and not word and old and self._all_offsets(old) == [old_offset]:
            link = partial(self._segment.link, parent, key, kind, old, gauge=gauge, offset=old_offset)
            return self._replace(cast("NumberCell", before), cast("NumberCell", now), old, link)
        word = word or self._admit(now, kind)
        self._link(parent, key, kind, word, gauge=gauge, offset=old_offset)
        if old_offset:
            self._forget_record(old, old_offset)

    def _replace(self, before: NumberCell, now: NumberCell, word: int, link: Callable[[], int]) -> None:
        """Give the word of `before` to `now`, which replaces it under its key; `link` overwrites the record.

        This is done if there is no room: a new word might be in private memory, and the sum of the group would fall.
        """
        with self._segment.changing():
            before._unbind()
            self._owners[word] = now
            now._bind(*self._segment.word(word, _code(now)))
            link()

    def _find(self, parent: int, key: str, var: Var | None) -> tuple[int, int]:
        """The word of the variable, and the offset of its record under this key; each is 0 if there is none."""
        word = self._word(var)
        for offset in self._all_offsets(word) if word else ():
            if self._segment.record_at(offset) == (parent, key):
                return word, offset
        return word, 0

    def _word(self, var: Var | None) -> int:
        """The word of the variable in this segment; 0 if it has none."""
        if isinstance(var, NumberCell):
            words = getattr(var, "_words", None)
            word = self._segment.chunk_of(words) * WORDS + var._index if words is not None else 0
            return word if word and self._owners[word] is var else 0
        if isinstance(var, Composite):
            node = getattr(var, "_on_change", None)
            return node.word if isinstance(node, _Node) and node.records is self else 0
        return 0

    def _all_offsets(self, word: int) -> list[int]:
        return [self._offsets[word], *self._more.get(word, ())]

    def _admit(self, var: Var, kind: int) -> int:
        """Give the variable a word, and bind it if it is a number. Returns the word."""
        word = self._segment.allocate()
        if isinstance(var, NumberCell):
            self._own(var, word)
            var._bind(*self._segment.word(word, kind))
        else:
            node = _Node(self, cast("Composite", var), word)
            self._own(node, word)
            cast("Composite", var)._on_change = node
            self._waiting.append(partial(self._process, node, None, None))
        return word

    def _own(self, what: NumberCell | _Node, word: int) -> None:
        while len(self._owners) <= word:
            self._owners.append(None)
            self._offsets.append(0)
        self._owners[word] = what
        self._offsets[word] = 0
        if isinstance(what, _Node):
            what.word = word

    def _link(self, parent: int, key: str, kind: int, word: int, *, gauge: bool, offset: int) -> None:
        """Write a record. If `offset` is not 0, overwrite the one there, so that readers never miss a replaced key."""
        with self._segment.changing():
            offset = self._segment.link(parent, key, kind, word, gauge=gauge, offset=offset)
        if self._offsets[word]:
            self._more.setdefault(word, []).append(offset)
        else:
            self._offsets[word] = offset

    def _unlink(self, word: int, offset: int) -> None:
        with self._segment.changing():
            self._segment.unlink(offset)
        self._forget_record(word, offset)

    def _forget_record(self, word: int, offset: int) -> None:
        """Note that the record at the offset is no longer of this word. Free the word if that was its last record."""
        offsets = self._all_offsets(word)
        offsets.remove(offset)
        self._offsets[word] = offsets[0] if offsets else 0
        self._more.pop(word, None)
        if offsets[1:]:
            self._more[word] = offsets[1:]
        if not offsets:
            self._free(word)

    def _free(self, word: int) -> None:
        """Free the word and its records; if it is the word of a composite, also the records below that."""
        held, self._owners[word] = self._owners[word], None
        for offset in self._all_offsets(word):
            if offset:
                with self._segment.changing():
                    self._segment.unlink(offset)
        self._offsets[word] = 0
        self._more.pop(word, None)
        if isinstance(held, NumberCell):
            held._unbind()
        elif held is not None and (composite := held.get()) is not None:
            composite._on_change = None
            for key, var in (composite._children() or {}).items():
                child, offset = self._find(word, key, var)
                if offset:
                    self._unlink(child, offset)
        else:
            self._unlink_children(word)
        self._segment.free(word)

    def _unlink_children(self, parent: int) -> None:
        """Remove the records below a registry that no longer exists, so that it cannot list its variables."""
        for child in range(FIRST_WORD, len(self._owners)):
            for offset in self._all_offsets(child):
                if offset and self._segment.record_at(offset)[0] == parent:
                    self._unlink(child, offset)


_COMPOSITES = {"map": MAP, "histogram": HISTOGRAM}


def _code(cell: NumberCell) -> int:
    return FLOAT if cell._code == "d" else INT


def _kind(var: Var) -> int:
    """The kind of record for the variable; 0 if it has no cells, or if reading it runs code of the program."""
    if not is_pyvars_code(type(var)):
        return 0
    if isinstance(var, NumberCell):
        return _code(var) if hasattr(var, "_value") else 0  # a subclass may not have called super().__init__()
    if isinstance(var, Composite) and hasattr(var, "_on_change"):
        return _COMPOSITES.get(var.kind, COMPOSITE)
    return 0
