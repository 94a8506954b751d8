"""`python -m tests.servers` prints the table of servers as Markdown."""

from tests.servers.table import SERVERS, Server

HEADER = (
    *("server", "peer if `X-Forwarded-For: 203.0.113.7`", "unix peer", "HTTP/1.0, 1.1, 2 as", "raw path in"),
    *("spellings that are served as the path", "a header sent twice", "removes", "`local()` over TCP"),
    "over a unix socket",
)


def cells(row: Server) -> tuple[str, ...]:
    versions = ", ".join(f"`{version}`" for version in (row.version_1_0, row.version_1_1, row.version_2) if version)
    unix = {None: "cannot listen on one", "": "empty"}.get(row.unix_peer, f"`{row.unix_peer}`")
    raw_path = "nothing" if row.raw_path == "none" else f"`{row.raw_path}`"
    return (
        *(row.name, row.forwarded_peer, unix, versions, raw_path, ", ".join(row.untold) or "none", row.twice),
        *(
            ", ".join(row.hidden) or "nothing",
            _local(row.local),
            "" if row.unix_peer is None else _local(row.local_unix),
        ),
    )


def _local(refusal: str) -> str:
    return f"refuses: {refusal}" if refusal else "as documented"


if __name__ == "__main__":
    for line in (HEADER, ["---"] * len(HEADER), *map(cells, SERVERS)):
        print(f"| {' | '.join(line)} |")
