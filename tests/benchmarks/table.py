"""Functions that the scripts share: alternating rounds, and the table of their results."""

from statistics import median, quantiles

RATIOS = ("what", "against", "ours", "peer", "ratio (median)", "spread", "target", "met/missed")
FOOTPRINT = ("what", "measured", "target", "met/missed")


def take_turns(ours, peer, rounds):
    """The results of `ours()` and `peer()`, a pair for each round: a disturbance of the machine affects both."""
    ours(), peer()  # the first round warms up
    return [(ours(), peer()) for _ in range(rounds)]


def ratio_row(what, against, pairs, show, *, at_most=None, at_least=None):
    """A row of the table: `show` formats a figure with its unit."""
    ratios = [ours / peer for ours, peer in pairs]
    ratio, deciles = median(ratios), quantiles(ratios, n=10)
    return (
        what,
        against,
        show(median(ours for ours, _ in pairs)),
        show(median(peer for _, peer in pairs)),
        f"{ratio:.3f}",
        f"{deciles[0]:.3f} - {deciles[-1]:.3f}",
        *verdict(ratio, at_most=at_most, at_least=at_least),
    )


def verdict(figure, *, at_most=None, at_least=None):
    """The target, and whether it was met; both empty if there is none."""
    if at_most is not None:
        return f"<= {at_most:g}", "met" if figure <= at_most else "missed"
    if at_least is not None:
        return f">= {at_least:g}", "met" if figure >= at_least else "missed"
    return "", ""


def print_table(title, columns, rows):
    """Print the table as Markdown, with aligned columns."""
    lines = [columns, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(columns))]
    lines.insert(1, ["-" * width for width in widths])
    print(f"\n## {title}\n")
    for line in lines:
        print("| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |")
    print(end="", flush=True)


def nanoseconds(ns):
    """A time as text, such as `12.3 µs`."""
    for unit, size in (("s", 1e9), ("ms", 1e6), ("µs", 1e3)):
        if abs(ns) >= size:
            return f"{ns / size:.3g} {unit}"
    return f"{ns:.3g} ns"


def per_second(rate):
    """A rate as text, such as `6,543/s`."""
    return f"{rate:,.0f}/s"
