"""All shapes: the table that runs on every server."""

from tests.servers import shapes_frames
from tests.servers.shape import Shape
from tests.servers.shapes_credentials import EITHER, PASSWORDS, TOKENS
from tests.servers.shapes_places import BROWSERS, HOSTS, NETWORKS, TRACES
from tests.servers.shapes_requests import METHODS, MOUNTED, PATHS, QUERIES, VERSIONS

SHAPES: tuple[Shape, ...] = (
    *(*METHODS, *PATHS, *QUERIES, *VERSIONS, *MOUNTED, *shapes_frames.SHAPES),
    *(*HOSTS, *TRACES, *BROWSERS, *NETWORKS),
    *(*TOKENS, *PASSWORDS, *EITHER),
)
assert len({shape.title for shape in SHAPES}) == len(SHAPES) >= 150
