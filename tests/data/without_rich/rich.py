"""In the way of rich, which other tests bring in: with it, datasette spends 0.2 s to print each 404."""

raise ImportError
