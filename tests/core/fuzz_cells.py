"""Calls random methods of cells, Maps and Histograms, with arguments that run hostile code during a call.

`make sanitize` runs it on an extension that checks each access to memory. It ends with 1 if a call raised a
SystemError, which C code causes by a wrong use of exceptions, or if a cell wrote outside its word; a crash ends it with
a signal. PYVARS_FUZZ_SECONDS is its duration; PYVARS_FUZZ_SEED repeats the random choices, but not the scheduling of
threads. It prints counts of calls.
"""

import copy
import gc
import mmap
import os
import pickle
import signal
import sys
import threading
import time
import warnings
from array import array
from collections import Counter
from contextlib import suppress

import pyvars
from pyvars import Float, Histogram, Int, Map
from pyvars.core import cells
from pyvars.core.counts import Counts
from tests.core.harm import CLASSES, HARM, Harm, Hostile, HostileInt, Key, Memory, Same, dice

SECONDS = float(os.environ.get("PYVARS_FUZZ_SECONDS", "10"))
SEED = int(os.environ.get("PYVARS_FUZZ_SEED", time.time_ns() % 2**32))
THREADS = 4
GUARD = 0x5AA5_5AA5_5AA5_5AA5
ROW = 8  # words, and as many guards before and after them

counts: Counter[str] = Counter()
failures: list[str] = []
inside = threading.local()
guarded: list[array] = []


def do_harm():
    """What hostile objects do when one of their methods is called."""
    depth = getattr(inside, "depth", 0)
    if depth > 2:
        return
    inside.depth = depth + 1
    try:
        match dice.randrange(8):
            case 0:
                raise Harm
            case 1:
                gc.collect()
            case 2:
                sum(range(1000))  # lets other threads run
            case 3:
                take(Map)._clear(dice.randrange(3))
            case _:
                call()
    finally:
        inside.depth = depth


NAMES = {kind: [name for name in dir(kind) for _ in range(1 if name[:2] == "__" else 4)] for kind in CLASSES}
KEYS = ("a", "b", "__other__", "", "x" * 300, "\ud800", "k1", "k2")
pool: list[object] = []


def any_key():
    key = dice.choice(KEYS)
    return dice.choice((key, key, Key(key), f"k{dice.randrange(20)}", Same(key), None, 5))


def any_number():
    return dice.choice((0, 1, -1, 2**62, -(2**63), 2**63, 2**70, True, 0.5, -1.5, 1e300, float("nan"), Hostile()))


def any_memory():
    """Memory of words between guard words, and memory of other formats."""
    match dice.randrange(10):
        case 0:
            memory = memoryview(mmap.mmap(-1, 4096))
        case 1:
            memory = memoryview(bytearray(8 * ROW + 1))[dice.randrange(2) :]
        case 2:
            memory = memoryview(bytes(64))
        case 3:
            memory = memoryview(array(dice.choice("bBhHiIlLqQfd"), range(ROW)))
        case 4 if sys.version_info >= (3, 12):
            memory = memoryview(Memory())
        case _:
            memory = new_row()
    with suppress(TypeError, ValueError):
        # From a list: while a tuple grows, gc.get_objects() in another thread must not refer to it.
        memory = memory[slice(*[dice.choice((None, None, 0, 1, 2, -1, -2)) for _ in range(3)])]
    with suppress(TypeError, ValueError):
        memory = memory.cast("B").cast(dice.choice("bBhHiIlLqQfdqdqdqd"))
    with suppress(TypeError, ValueError):
        if dice.random() < 0.1:
            memory = memory.cast("B").cast("q", dice.choice(((2, 2), (2, ROW // 2), (), (1,), (0, 3))))
    return memory.toreadonly() if dice.random() < 0.1 else memory


def new_row():
    words = array("q", [GUARD] * (3 * ROW))
    if len(guarded) < 200:
        guarded.append(words)
    else:
        guarded[dice.randrange(200)] = words
    return memoryview(words)[ROW : 2 * ROW]


def any_value():
    makers = (any_key, any_number, any_memory, Hostile, lambda: take(object), lambda: dice.choice(CLASSES), dict, list)
    return dice.choice(makers)()


def take(kind):
    """An object of the class from those that all threads share, or a new one."""
    for _ in range(5):
        found = dice.choice(pool) if pool else None
        if isinstance(found, kind):
            return found
    return kind()


def keep(value):
    if len(pool) < 60:
        pool.append(value)
    else:
        pool[dice.randrange(60)] = value


def some_arguments():
    named = ("value", "gauge", "delta", "key", "max_keys", "other")
    arguments = [any_value() for _ in range(dice.choice((0, 0, 1, 1, 2, 2, 3)))]
    names = [dice.choice((name, Key(name))) for name in named if dice.random() < 0.05]
    return arguments, {name: any_value() for name in names}


def call_a_method():
    held = take(CLASSES)
    name = dice.choice(NAMES.get(type(held)) or dir(held))
    counts[str.__str__(name)] += 1
    arguments, named = some_arguments()
    keep(getattr(held, name)(*arguments, **named))


def make():
    kind = dice.choice(CLASSES)
    arguments, named = some_arguments()
    keep(kind.__new__(kind) if dice.random() < 0.2 else kind(*arguments, **named))


def count():
    dice.choice((take(Int).add, take(Float).add, take(Float).set, take(Histogram).observe))(any_number())
    take(Map).add(any_key(), any_number())


def bind():
    kind, code = dice.choice(((cells.IntCell, "q"), (cells.FloatCell, "d")))
    number = take(kind)
    words = new_row().cast("B").cast(code) if dice.random() < 0.5 else any_memory()
    keep(words)
    try:
        number._bind(words, dice.choice((0, 1, ROW - 1, ROW, -1, 2**62, 2**70, Hostile())))
    finally:
        with suppress(BufferError):
            words.release()
    number.add()
    dice.choice((number._unbind, number._restart, number.add, lambda: number._words.release()))()


def free_memory():
    held = take(memoryview) if any(isinstance(each, memoryview) for each in pool) else any_memory()
    owner = held.obj
    if dice.random() < 0.5:
        held.release()
    if isinstance(owner, mmap.mmap):
        owner.close()
    elif isinstance(owner, bytearray):
        owner.clear()


def change_a_dict():
    """Change the dict in which a Map counts; gc.get_referents finds it."""
    for held in gc.get_referents(take(Counts)):
        if type(held) is dict:
            held[dice.choice((any_key(), Same(dice.choice(KEYS))))] = dice.choice((any_value(), Int(), Float()))
            if dice.random() < 0.3:
                held.clear()


def put():
    key, cell = any_key(), dice.choice((Int(), Float(0.5), HostileInt(), None, any_value()))
    held = take(Map)
    dice.choice((held._put, held._place, held.set, lambda key, cell: take(Histogram)._put(dice.randrange(520), cell)))(
        key, cell
    )
    held.clear() if dice.random() < 0.1 else held.delete(key)


def join():
    ends = array("I", sorted(dice.randrange(9) for _ in range(dice.randrange(6))))
    heads, values = bytearray(ends[-1] if ends else 3), [any_value() for _ in ends]

    def encode(value):
        do_harm()
        if dice.random() < 0.2:
            values.clear()
        if dice.random() < 0.2:
            ends[dice.randrange(len(ends))] = dice.choice((0, 5, 2**32 - 1))
        return dice.choice((b"", b"x" * 500, bytearray(5), None))

    if cells.native:
        from pyvars.core import _cells

        _cells.join(heads, memoryview(b"." + ends.tobytes())[1:] if dice.random() < 0.3 else ends, values, encode)


def fasten():
    base = dice.choice(CLASSES)
    module = dice.choice(("here", "\ud800", 5, None, Key("here")))
    slots = dice.choice(({"__slots__": ()}, {"__slots__": ("a", "b")}, {}))
    fast = cells.fast_methods(type(base)("Fast", (base,), {"__module__": module, **slots}))
    held = fast()
    with suppress(AttributeError, TypeError):
        held.a = held.b = held.c = any_value()
    keep(held)


def set_an_attribute():
    held = take(CLASSES)
    name = dice.choice(("gauge", "_words", "_cells", "_value", "__class__", "_vars", "_on_change", "_total", "more"))
    if dice.random() < 0.1:
        delattr(held, name)
    setattr(held, name, dice.choice(CLASSES) if name == "__class__" else any_value())


def duplicate():
    held = take(CLASSES)
    keep(copy.copy(held) if dice.random() < 0.5 else pickle.loads(pickle.dumps(held, dice.randrange(6))))


ACTIONS = (
    *(call_a_method, call_a_method, make, make, count, count, bind, bind),
    *(free_memory, change_a_dict, put, put, join, fasten, set_an_attribute, duplicate),
)


def call():
    action = dice.choice(ACTIONS)
    counts[action.__name__] += 1
    try:
        action()
    except SystemError as error:
        failures.append(f"{action.__name__}: {error!r}")
    except Exception as error:
        counts[f"raised {type(error).__name__}"] += 1


def guards():
    """Whether the guard words beside bound words are unchanged."""
    return all(words[at] == GUARD for words in guarded for at in (*range(ROW), *range(2 * ROW, 3 * ROW)))


def fork():
    counts["forks"] += 1
    pid = os.fork()
    if pid == 0:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for _ in range(50):
            call()
        os._exit(len(failures))
    if (status := os.waitpid(pid, 0)[1]) != 0:
        failures.append(f"a forked child ended with {os.waitstatus_to_exitcode(status)}")


def until(end):
    while time.monotonic() < end and not failures:
        call()


def meet(phase, _info):
    """A gc callback that counts with all objects that it finds, even unfinished ones."""
    if getattr(inside, "depth", 0) == 0 and dice.random() < 0.01:
        inside.depth = 1
        for each in gc.get_objects():
            if type(each) in CLASSES:
                with suppress(Exception):
                    each.add("a") if isinstance(each, Counts) else each.observe(1)
        inside.depth = 0


def main():
    print(f"cells in {'C' if pyvars.native else 'Python'}, seed {SEED}", flush=True)
    dice.seed(SEED)
    HARM[0] = do_harm
    warnings.simplefilter("ignore")
    sys.unraisablehook = lambda about: None
    sys.setswitchinterval(1e-5)
    gc.collect()
    gc.freeze()  # the collector then skips objects that already exist
    begin = time.monotonic()
    # One thread, which is interrupted by a timer, and forks.
    signal.signal(signal.SIGALRM, lambda *about: call())
    signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)
    while time.monotonic() < begin + SECONDS / 2 and not failures:
        until(time.monotonic() + 0.5)
        fork()
    signal.setitimer(signal.ITIMER_REAL, 0)
    gc.callbacks.append(meet)
    threads = [threading.Thread(target=until, args=(begin + SECONDS,)) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    gc.callbacks.clear()
    HARM[0] = lambda: None
    if not guards():
        failures.append("a word beside the bound ones was written")
    calls = sum(counts[name] for name in {action.__name__ for action in ACTIONS})
    print(f"{calls} calls in {time.monotonic() - begin:.0f} seconds: {dict(counts.most_common())}")
    if failures:
        sys.exit("\n".join(failures))
    print("no failure")


if __name__ == "__main__":
    main()
