"""Shapes of the origin of a request: its Host, the headers of proxies, and the headers of browsers."""

from tests.servers.shape import EVIL, HEAD, HERE, PAGE, REFUSED, UNAUTHORIZED, odd, shape

_LOOPBACK = """
    localhost localhost:8000 LOCALHOST:8000 LocalHost localhost. localhost.:80 localhost: 127.0.0.1 127.0.0.1:1
    127.9.8.7 [::1] [::1]:8000 [0:0:0:0:0:0:0:1] [::ffff:127.0.0.1] [::FFFF:127.0.0.1]:80 [::ffff:7f00:1]
""".split()
_FOREIGN = """
    evil.example evil.example:80 127.0.0.1.evil.com localhost.evil.com evil.localhost notlocalhost localhosts m
    127.0.0.1.nip.io 0.0.0.0 [::] [::ffff:8.8.8.8] [fe80::1] 8.8.8.8 127.0.0.256
""".split()
_MALFORMED: tuple[str | bytes, ...] = (
    *r"""
    evil.com#127.0.0.1 user@127.0.0.1 localhost@evil.com evil.com@localhost evil.com,localhost localhost,
    localhost:80:80 localhost:abc localhost:-1 localhost:+80 localhost:80# localhost:80@evil.com localhost:0x50
    localhost::80 [::1 ::1 ::1] [::1]x [::1]:x [[::1]] [127.0.0.1] [localhost] [] []:80 [::1%25lo] [::1%lo] [::1.]
    127.1 2130706433 0x7f.1 0x7f000001 0177.0.0.1 127.0.0.01 127.0.0.1/8 127.0.0.1,
    . .. localhost.. .localhost : :80 @ * localhost%20 localhost%2eevil.com %6cocalhost
    http://localhost localhost/ localhost?x localhost\ 'localhost' "localhost" localhost;x
    """.split(),
    *("", "localhost, evil.com", "localhost evil.com", "localhost: 80", "localhost :80"),
    *(
        "\uff4cocalhost",
        "\uff11\uff12\uff17.0.0.1",
        "127\u30020\u30020\u30021",
        "localho\u017ft",
        "\u0661\u0662\u0667.0.0.1",
    ),
    *(b"localhost\xe9", b"localhost\xa0", b"\x85localhost", b"localhost\x00", b"\x00localhost", b"localhost\x0b"),
    *(b"localhost\x1c", b"localhost\x00evil.com", b"localhost\revil.com"),
    *("x" * 300, "localhost" + "." * 300, "a" * 9000),
)
_ENVIRON = {
    "Remote-Addr": "127.0.0.1",
    "Server-Protocol": "HTTP/1.1",
    "Script-Name": "/debug",
    "SCRIPT_NAME": "",
    "PATH_INFO": HERE,
    "RAW_URI": HERE,
    "REQUEST_URI": HERE,
    "Request-Method": "GET",
    "HTTP_HOST": "localhost",
}
HOSTS = (
    *(shape(PAGE, f"Host {host}", host=host) for host in _LOOPBACK),
    *(shape(REFUSED, f"Host {host}", host=host) for host in _FOREIGN),
    *(odd(REFUSED, f"Host {host!r:.60}", host=host) for host in _MALFORMED),
    odd(REFUSED, "no Host", host=None),
    odd(REFUSED, "two Hosts, ours first", f"Host: {EVIL}"),
    odd(REFUSED, "two Hosts, ours last", "Host: localhost", host=EVIL),
    odd(REFUSED, "two Hosts, both ours", "Host: localhost"),
    shape(PAGE, "Host in lower case", "host: localhost", host=None),
    shape(PAGE, "Host in mixed case", "hOsT: localhost", host=None),
    shape(PAGE, "Host without a space", "Host:localhost", host=None),
    shape(PAGE, "Host amid spaces", "Host:  \t localhost \t ", host=None),
    odd(REFUSED, "Host with a space before the colon", "Host : localhost", host=None),
    odd(REFUSED, "Host on a second line", "Host: evil.example", " localhost", host=None),
    odd(REFUSED, "Host folded on", " .evil.example"),
    odd(REFUSED, "only X-Host", "X-Host: localhost", host=None),
    odd(REFUSED, "H_OST", "H_OST: localhost", host=EVIL),
    *(odd(REFUSED, f"a header {name}", f"{name}: {value}", host=EVIL) for name, value in _ENVIRON.items()),
    *(
        odd(REFUSED, f"{name} does not make the path ours", f"{name}: {HERE}", target="/x")
        for name in ("PATH_INFO", "RAW_URI", "X-Original-URL", "X-Rewrite-URL")
    ),
)

_TRACES = """
X-Forwarded-For: 127.0.0.1
x-forwarded-for: 203.0.113.7
X-FORWARDED-FOR: ::1
X-Forwarded-For:
X-Forwarded-For: localhost
X-Forwarded-For: unix:
X-Forwarded-Proto: http
X-Forwarded-Host: localhost
X-Forwarded-Port: 80
X-Forwarded-Server: x
X-Forwarded-Prefix: /
X-Forwarded: for=127.0.0.1
Forwarded: for=127.0.0.1
forwarded: for=_hidden
Forwarded:
X-Real-IP: 127.0.0.1
x-real-ip: ::1
Via: 1.1 localhost
VIA: 1.0 x
CF-Connecting-IP: 127.0.0.1
CF-Ray: 1-FRA
True-Client-IP: 127.0.0.1
X-Client-IP: 127.0.0.1
X-Cluster-Client-IP: 127.0.0.1
Client-IP: 127.0.0.1
Fastly-Client-IP: 127.0.0.1
Fly-Client-IP: 127.0.0.1
X-Amzn-Trace-Id: Root=1
CDN-Loop: cloudflare
X-Envoy-External-Address: 127.0.0.1
X-Original-Forwarded-For: 127.0.0.1
X-Original-Host: localhost
X-Original-URL: /debug/vars
""".strip().split("\n")
_TRACE = "X-Forwarded-For: 127.0.0.1"
TRACES = (
    *(shape(REFUSED, trace, trace) for trace in _TRACES),
    odd(REFUSED, "forwarded twice", _TRACE, _TRACE),
    odd(REFUSED, "forwarded, folded", "X-Forwarded-For:", " 127.0.0.1"),
    odd(REFUSED, "forwarded, a space before the colon", "X-Forwarded-For : 127.0.0.1"),
    odd(REFUSED, "forwarded, and said to be of the connection", _TRACE, "Connection: X-Forwarded-For, close"),
    shape(REFUSED, "forwarded before the Host", _TRACE, "Host: localhost", host=None),
    shape(REFUSED, "forwarded HEAD", _TRACE, method="HEAD"),
    odd(REFUSED, "forwarded, with every other header of a proxy", *_TRACES),
    shape(UNAUTHORIZED, "forwarded to a rule that takes a token too", _TRACE, rule="either"),
)

_CROSS, _SAME = "Sec-Fetch-Site: cross-site", "Sec-Fetch-Site: same-site"
_NAVIGATE, _DOCUMENT = "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document"
_LINK = (_CROSS, _NAVIGATE, _DOCUMENT)
_NO_CORS = (_CROSS, "Sec-Fetch-Mode: no-cors")
_EVIL_ORIGIN = "Origin: https://evil.example"
_ORIGINS = """
    https://evil.example http://evil.example null http://localhost.evil.com http://localhost@evil.com http:// file://
    http://evil.com#localhost localhost http://localhost:3000 http://127.0.0.1 http://localhost/ moz-extension://x
    http://[::1] http://localhost,http://evil.example ftp://localhost
""".split()
BROWSERS = (
    *(shape(PAGE, f"Sec-Fetch-Site {site}", f"Sec-Fetch-Site: {site}") for site in ("same-origin", "none")),
    *(
        shape(REFUSED, f"Sec-Fetch-Site {site}", f"Sec-Fetch-Site: {site}")
        for site in ("cross-site", "same-site", "CROSS-SITE", "elsewhere", "", "none, cross-site", "same-origin;x")
    ),
    odd(REFUSED, "Sec-Fetch-Site twice, cross-site last", "Sec-Fetch-Site: none", _CROSS),
    odd(REFUSED, "Sec-Fetch-Site twice, cross-site first", _CROSS, "Sec-Fetch-Site: none"),
    shape(REFUSED, "an image of another site", *_NO_CORS, "Sec-Fetch-Dest: image"),
    shape(REFUSED, "a script of another site", *_NO_CORS, "Sec-Fetch-Dest: script"),
    shape(REFUSED, "fetch() of another site", _CROSS, "Sec-Fetch-Mode: cors", "Sec-Fetch-Dest: empty", _EVIL_ORIGIN),
    shape(REFUSED, "an image of another site, HTTP/1.0", *_NO_CORS, "Sec-Fetch-Dest: image", version="HTTP/1.0"),
    shape(PAGE, "fetch() of this site", "Sec-Fetch-Site: same-origin", "Sec-Fetch-Mode: cors", "Sec-Fetch-Dest: empty"),
    shape(PAGE, "an address typed in", "Sec-Fetch-Site: none", _NAVIGATE, _DOCUMENT, "Sec-Fetch-User: ?1"),
    shape(PAGE, "a link on another site", *_LINK),
    shape(PAGE, "a link on a sister site", _SAME, _NAVIGATE, _DOCUMENT, "Sec-Fetch-User: ?1"),
    shape(REFUSED, "a link on another site, to a stranger's name", *_LINK, host=EVIL),
    shape(REFUSED, "a link on another site, forwarded", *_LINK, "Via: 1.1 x"),
    shape(REFUSED, "a link by HEAD", *_LINK, method="HEAD"),
    shape(REFUSED, "a form of another site", *_LINK, _EVIL_ORIGIN, method="POST"),
    shape(REFUSED, "a form of another site without Origin", *_LINK, method="POST"),
    shape(REFUSED, "a link with Origin", *_LINK, _EVIL_ORIGIN),
    shape(REFUSED, "a link with Origin null", *_LINK, "Origin: null"),
    *(
        shape(REFUSED, f"a link into {into}", _CROSS, _NAVIGATE, f"Sec-Fetch-Dest: {into}")
        for into in ("iframe", "frame", "embed", "object", "empty", "")
    ),
    shape(REFUSED, "a document without navigating", *_NO_CORS, _DOCUMENT),
    shape(REFUSED, "a link to nothing", _CROSS, _NAVIGATE),
    shape(REFUSED, "a preflight", _EVIL_ORIGIN, "Access-Control-Request-Method: GET", _CROSS, method="OPTIONS"),
    *(shape(REFUSED, f"Origin {origin}", f"Origin: {origin}") for origin in (*_ORIGINS, "")),
    shape(REFUSED, "Origin with another port", "Origin: http://localhost:3000", host="localhost:8000"),
    shape(PAGE, "Origin with our port", "Origin: http://localhost:8000", host="localhost:8000"),
    shape(PAGE, "Origin, ours", "Origin: http://localhost"),
    shape(HEAD, "Origin, ours, by HEAD", "Origin: http://localhost", method="HEAD"),
    odd(REFUSED, "Origin twice, ours first", "Origin: http://localhost", _EVIL_ORIGIN),
    odd(REFUSED, "Origin twice, ours last", _EVIL_ORIGIN, "Origin: http://localhost"),
    shape(UNAUTHORIZED, "cross-site to a rule that takes a token too", _CROSS, rule="either"),
)

_INTERNAL = "metrics.internal"
NETWORKS = (
    *(
        shape(PAGE, f"networks, Host {host}", host=host, rule="networks")
        for host in (_INTERNAL, f"{_INTERNAL}:80", "METRICS.Internal.", "127.0.0.1", "10.1.2.3:8000", "[::1]")
    ),
    *(
        shape(REFUSED, f"networks, Host {host}", host=host, rule="networks")
        for host in ("m", "evil.com", "localhost", f"{_INTERNAL}.evil.com", f"x.{_INTERNAL}")
    ),
    *(
        odd(REFUSED, f"networks, Host {host!r}", host=host, rule="networks")
        for host in (
            "evil.com:x:y",
            ".",
            "",
            f"{_INTERNAL}@evil.com",
            f"{_INTERNAL},",
            "[10.1.2.3]",
            "10.1.2.3, evil.com",
        )
    ),
    shape(REFUSED, "networks, forwarded", _TRACE, host=_INTERNAL, rule="networks"),
    shape(REFUSED, "networks, HTTP/1.0", host=_INTERNAL, rule="networks", version="HTTP/1.0"),
)
