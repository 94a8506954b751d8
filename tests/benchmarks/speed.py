"""One table of all speeds: counting, pages, and the cost of a side port for its program.

Each part is described in its module: counting, workers, page, http, sideport.
"""

from itertools import chain

from . import counting, http, page, sideport, workers
from .table import RATIOS, print_table


def main():
    parts = counting.rows(), workers.counting_rows(), page.cold_rows(), http.rows(), sideport.rows()
    print_table("Speed", RATIOS, list(chain.from_iterable(parts)))


if __name__ == "__main__":
    main()
