"""Shapes of the request line: methods, spellings of the path, queries, versions."""

from tests.servers.shape import ALLOWED, EVIL, HEAD, METHOD, NOT_OURS, PAGE, QUERY, REFUSED, odd, shape

_CHUNKS = b"1\r\na\r\n0\r\n\r\n"

METHODS = (
    shape(PAGE, "GET"),
    shape(HEAD, "HEAD", method="HEAD"),
    shape(ALLOWED, "OPTIONS", method="OPTIONS"),
    *(shape(METHOD, method, method=method) for method in ("POST", "PUT", "DELETE", "PATCH", "TRACE")),
    *(odd(METHOD, method, method=method) for method in ("FOO", "QUERY", "PROPFIND", "GETS", "get", "Get", "G-E.T")),
    odd(METHOD, "CONNECT", method="CONNECT"),
    odd(METHOD, "method with NUL", method="GET\0"),
    odd(NOT_OURS, "CONNECT of an authority", target="localhost:80", method="CONNECT"),
    odd(NOT_OURS, "OPTIONS *", target="*", method="OPTIONS"),
    odd(NOT_OURS, "no method", method=""),
    shape(METHOD, "POST with a body", "Content-Length: 3", method="POST", body=b"a=1"),
    shape(METHOD, "POST, chunked", "Transfer-Encoding: chunked", method="POST", body=_CHUNKS),
    odd(METHOD, "POST whose body does not come", "Content-Length: 1000000", method="POST"),
    odd(METHOD, "POST whose chunks do not end", "Transfer-Encoding: chunked", method="POST", body=b"1\r\na\r\n"),
    *(
        shape(REFUSED, f"{method} by a stranger", method=method, host=EVIL)
        for method in ("HEAD", "OPTIONS", "POST", "DELETE", "TRACE")
    ),
)

_NOT_OURS = r"""
    / /debugx /debug/x /debug/varsx /debug/var /debug/vars;x /debug/vars;/ /debug/vars,x /debug/vars.json /debug/vars+
    /DEBUG/VARS /debug/Vars /debug//vars /x/debug/vars /debug/x/vars /localhost/debug/vars /http://localhost/debug/vars
    /debug/vars%00 /debug/vars%ff /debug/vars%20 /debug/vars%0a /debug/vars%3f /debug/vars%3fname=memstats
    /debug/vars%23 /%2564ebug/vars /debug/vars%252f /%c1%a4ebug/vars
    /%ef%bd%84ebug/vars /debug%5cvars /debug\vars /~debug/vars
    /debug/../debug/vars /./debug/vars /debug/./vars /x/../debug/vars /debug/%2e/vars /debug/%2e%2e/debug/vars
    /..;/debug/vars /debug/vars% /%zzdebug/vars /debug/vars%2
""".split()
_NOT_OURS_ODD: tuple[str | bytes, ...] = (
    *r"debug/vars \debug\vars * http:/debug/vars http:debug/vars http:// ?/debug/vars file:///debug/vars".split(),
    *("localhost:80/debug/vars", "//localhost/debug/vars", "/debug/vars x", "/debug /vars", "/debug\t/vars"),
    *(b"/debug/vars\x00", b"/debug\x00/vars", b"/debug/vars\xff", b"/debug/vars\x7f", "/\u24d3ebug/vars"),
    "/debug/vars" + "x" * 9000,
)
_SPELT = {
    "slashes": "//debug/vars ///debug/vars //debug/vars/",
    "encoded": """
        /%64ebug/vars /debug/%76ars /debug/var%73 /debug%2fvars /debug%2Fvars /debug/vars%2f /%64ebug/vars?name=memstats
        /%64%65%62%75%67/%76%61%72%73
    """,
    "absolute": """
        http://localhost/debug/vars https://localhost/debug/vars HTTP://localhost/debug/vars http://evil.example/debug/vars
        http://user@localhost:80/debug/vars?x
    """,
    "fragment": "/debug/vars#x /debug/vars#/../x",
}
PATHS = (
    *(shape(PAGE, f"path {path}", target=path) for path in ("/debug/vars/", "/debug/vars?", "/debug/vars?x=1&&y")),
    *(shape(PAGE, f"path {path}", target=path) for path in ("/debug/vars?name=memstats", "/debug/vars/?%00")),
    shape(HEAD, "one variable, by its encoded name", target="/debug/vars/mem%73tats", method="HEAD"),
    *(shape(HEAD, f"the index, {path}", target=path) for path in ("/debug", "/debug/")),
    *(shape(NOT_OURS, f"path {path}", target=path) for path in _NOT_OURS),
    *(odd(NOT_OURS, f"path {path!r:.40}", target=path) for path in _NOT_OURS_ODD),
    *(
        shape(NOT_OURS, f"path {path}", target=path, spelling=spelling, odd=spelling != "encoded")
        for spelling, paths in _SPELT.items()
        for path in paths.split()
    ),
    odd(NOT_OURS, "path %2fdebug/vars", target="%2fdebug/vars", spelling="encoded"),
    odd(REFUSED, "absolute URI, and a stranger's Host", target="http://localhost/debug/vars", host=EVIL),
    odd(REFUSED, "absolute URI, and no Host", target="http://localhost/debug/vars", host=None),
)

_MANY = "/debug/vars?" + "&".join(f"name=n{n}" for n in range(65))
_LONG = "/debug/vars?x=" + "y" * 5000
QUERIES = (
    shape(QUERY, "65 names", target=_MANY),
    odd(QUERY, "a query of 5 KB", target=_LONG),
    shape(REFUSED, "65 names by a stranger", target=_MANY, host=EVIL),
    odd(REFUSED, "a query of 5 KB by a stranger", target=_LONG, host=EVIL),
    odd(REFUSED, "a query of 100 KB by a stranger", target="/debug/vars?" + "y" * 100_000, host=EVIL),
    shape(REFUSED, "a name by a stranger", target="/debug/vars?name=memstats", host=EVIL),
    shape(REFUSED, "all workers by a stranger", target="/debug/vars?worker=all", host=EVIL),
)

_VERSIONS = """
    HTTP/0.9 HTTP/1 HTTP/1. HTTP/1.00 HTTP/01.0 HTTP/1.2 HTTP/1.10 HTTP/0.0 HTTP/9.9 HTTP/11 HTTP/1.-1 HTTP/x HTTP/ 1.1
    HTTP1.1 ICY/1.1 HTTPS/1.1 XHTTP/1.1 HTTP/\u0661.1
""".split()
VERSIONS = (
    shape(REFUSED, "HTTP/1.0", version="HTTP/1.0"),
    shape(REFUSED, "HTTP/1.0 with a port in its Host", version="HTTP/1.0", host="127.0.0.1:8000"),
    shape(REFUSED, "HTTP/1.0 without Host", version="HTTP/1.0", host=None),
    shape(REFUSED, "HTTP/1.0 HEAD", version="HTTP/1.0", method="HEAD"),
    odd(REFUSED, "HTTP/1.0 that would upgrade", "Upgrade: h2c", version="HTTP/1.0"),
    odd(REFUSED, "no version", version=""),
    odd(REFUSED, "two versions", version="HTTP/1.0 HTTP/1.1"),
    *(odd(REFUSED, f"version {version}", version=version) for version in _VERSIONS),
)

_MOUNTED_NOT_OURS = """
    /in%20ner//vars /in%20ner/varsx /IN%20NER/vars /in+ner/vars /inner/vars /vars /in%20ner/debug/vars
    /in%20ner/../in%20ner/vars /in%2520ner/vars
""".split()
_MOUNT = "/in%20ner/vars"
MOUNTED = (
    shape(PAGE, "mounted", target=_MOUNT, rule="mounted"),
    shape(PAGE, "mounted, with a slash", target=f"{_MOUNT}/", rule="mounted"),
    shape(HEAD, "mounted HEAD", target=_MOUNT, rule="mounted", method="HEAD"),
    shape(METHOD, "mounted POST", target=_MOUNT, rule="mounted", method="POST"),
    shape(REFUSED, "mounted HTTP/1.0", target=_MOUNT, rule="mounted", version="HTTP/1.0"),
    shape(REFUSED, "mounted, by a stranger", target=_MOUNT, rule="mounted", host=EVIL),
    shape(REFUSED, "mounted, forwarded", "Via: 1.1 x", target=_MOUNT, rule="mounted"),
    *(shape(NOT_OURS, f"mounted {path}", target=path, rule="mounted") for path in _MOUNTED_NOT_OURS),
    *(
        shape(NOT_OURS, f"mounted {path}", target=path, rule="mounted", spelling="encoded")
        for path in ("/%69n%20ner/vars", "/in%20ner/%76ars", "/in%20ner%2fvars", "/in%20n%65r/vars")
    ),
    odd(NOT_OURS, "mounted //", target=f"/{_MOUNT}", rule="mounted", spelling="slashes"),
)
