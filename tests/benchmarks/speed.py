"""The whole in one table: what counting costs, what a page costs, and what a program pays for being watched.

Each part is measured as its own module says: counting, workers, page, http, sideport.
"""

from itertools import chain

from . import counting, http, page, sideport, workers
from .table import RATIOS, print_table


def main():
    parts = counting.rows(), workers.counting_rows(), page.cold_rows(), http.rows(), sideport.rows()
    print_table("Speed", RATIOS, list(chain.from_iterable(parts)))


if __name__ == "__main__":
    main()
