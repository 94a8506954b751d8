"""Shapes of the framing of a request: other bytes before or beside a header must not hide it."""

from tests.servers.shape import METHOD, NOT_OURS, PAGE, REFUSED, Shape, odd, shape

FRAMES: dict[str, tuple[tuple[str | bytes, ...], bytes]] = {
    "a body": (("Content-Length: 3",), b"abc"),
    "a chunked body": (("Transfer-Encoding: chunked",), b"1\r\na\r\n0\r\n\r\n"),
    "chunked twice": (("Transfer-Encoding: chunked, chunked",), b"0\r\n\r\n"),
    "another coding": (("Transfer-Encoding: xchunked",), b"0\r\n\r\n"),
    "length and chunks": (("Content-Length: 3", "Transfer-Encoding: chunked"), b"0\r\n\r\n"),
    "two lengths": (("Content-Length: 3", "Content-Length: 0"), b"abc"),
    "a negative length": (("Content-Length: -1",), b""),
    "a length in words": (("Content-Length: three",), b""),
    "a signed length": (("Content-Length: +3",), b"abc"),
    "Expect": (("Expect: 100-continue", "Content-Length: 3"), b"abc"),
    "an unknown Expect": (("Expect: the-spanish-inquisition",), b""),
    "a folded header": (("X-Folded: a", " b"), b""),
    "a folded header, by tab": (("X-Folded: a", "\tb"), b""),
    "a header of white space": (("   ",), b""),
    "a line without a colon": (("no colon",), b""),
    "a line of one colon": ((":",), b""),
    "an empty name": ((": x",), b""),
    "a space before the colon": (("X-Spaced : x",), b""),
    "a NUL in a value": ((b"X-Nul: a\0b",), b""),
    "a NUL in a name": ((b"X-N\0l: a",), b""),
    "a bare CR in a value": ((b"X-Cr: a\rb",), b""),
    "a bare CR twice": ((b"X-Cr: a\r\rb",), b""),
    "a bare LF": ((b"X-Lf: a\nX-B: b",), b""),
    "a vertical tab": ((b"X-Vt: a\x0bb: c",), b""),
    "a file separator": ((b"X-Fs: a\x1cb: c",), b""),
    "a next line of Latin-1": ((b"X-Nel: a\x85b: c",), b""),
    "bytes above ASCII in a value": ((b"X-High: \xe9\xff",), b""),
    "bytes above ASCII in a name": ((b"X-H\xe9: a",), b""),
    "90 headers": (tuple(f"X-{n}: {n}" for n in range(90)), b""),
    "200 headers": (tuple(f"X-{n}: {n}" for n in range(200)), b""),
    "a header of 7 KB": (("X-Long: " + "x" * 7000,), b""),
    "a header of 200 KB": (("X-Long: " + "x" * 200_000,), b""),
    "a WebSocket": (("Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZQ=="), b""),
    "h2c": (("Upgrade: h2c", "HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA"), b""),
}
"""Headers that come before others, and a body."""


def _lines_of_lf(one: Shape) -> Shape:
    return one._replace(data=one.data.replace(b"\r\n", b"\n") + b"\r\n\r\n")  # or a server might wait


SHAPES = (
    *(odd(PAGE, f"with {what}", *headers, body=body) for what, (headers, body) in FRAMES.items()),
    *(
        odd(REFUSED, f"forwarded, with {what}", *headers, "X-Forwarded-For: 203.0.113.7", body=body)
        for what, (headers, body) in FRAMES.items()
    ),
    odd(REFUSED, "forwarded, with another X-Rule", "X-Rule: anyone", "X-Forwarded-For: 203.0.113.7"),
    _lines_of_lf(odd(PAGE, "lines that end in LF")),
    _lines_of_lf(odd(REFUSED, "HTTP/1.0, lines that end in LF", version="HTTP/1.0")),
    odd(PAGE, "a blank line before it")._replace(data=b"\r\n" + shape(PAGE, "").data),
    odd(METHOD, "a NUL before it")._replace(data=b"\0" + shape(PAGE, "").data),
    odd(NOT_OURS, "no HTTP")._replace(data=b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"),
)
