"""Shows that freed memory which malloc keeps is no leak: allocates 300 MB, frees it, and prints RSS and memstats.

    python -m examples.memory

    MB                       RSS   HeapAlloc    HeapIdle
    start                     13           5           1
    300 MB in use            313         305           1
    freed                    313           5         301
    pin gone too              13           5           1

In the row `freed`, RSS is as high as before. HeapAlloc shows that the program has freed the memory. HeapIdle shows that
malloc has not returned it to the system: malloc returns only the end of the heap, and the block at the end, `pin`, is
still in use.
"""

import time

import pyvars

MB = 1_000_000


def show(moment: str) -> None:
    """Print the figures as the page shows them."""
    time.sleep(0.15)  # a figure may be 100 ms old
    memstats, process = pyvars.default_registry["memstats"].snapshot(), pyvars.default_registry["process"].snapshot()
    assert isinstance(memstats, dict)
    assert isinstance(process, dict)
    figures = process["rss_bytes"], memstats["HeapAlloc"], memstats["HeapIdle"]
    print(f"{moment:16}" + "".join(f"{figure // MB:>12}" for figure in figures), flush=True)


def main() -> None:
    """Allocate and free memory, and print the figures after each step."""
    print(f"{'MB':16}{'RSS':>12}{'HeapAlloc':>12}{'HeapIdle':>12}")
    show("start")
    blocks = [bytearray(b"x" * 100_000) for _ in range(3000)]
    pin = bytearray(b"x" * 100_000)
    show("300 MB in use")
    del blocks
    show("freed")
    del pin
    show("pin gone too")


if __name__ == "__main__":
    main()
