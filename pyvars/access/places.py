"""The access rules that look at the origin of a request: this machine, or a network."""

from collections.abc import Collection
from ipaddress import ip_network
from typing import cast

from pyvars.access.hosts import address_of, host_name, is_loopback, is_loopback_address
from pyvars.access.request import Request
from pyvars.access.rules import Rule
from pyvars.errors import ConfigurationError

__all__ = ("Local", "Networks")

_VERSIONS = frozenset(("1.1", "2", "2.0", "3", "3.0"))
"""The allowed versions of HTTP. Most proxies that add no header, such as nginx before 1.29.7, speak HTTP/1.0."""

_HIDING = frozenset(("waitress",))
"""Servers that by default remove forwarding headers, so that a forwarded request looks like a local one (waitress:
`clear_untrusted_proxy_headers`).
"""

_OLD = frozenset(("eventlet",))
"""Servers that report HTTP/1.0 for every request."""

_FORWARDING = frozenset(
    (
        *("forwarded", "via", "cdn-loop", "x-amzn-trace-id", "x-envoy-external-address", "x-envoy-internal"),
        *("x-real-ip", "x-client-ip", "x-cluster-client-ip", "client-ip", "true-client-ip", "fastly-client-ip"),
        *("fly-client-ip", "proxy-client-ip", "wl-proxy-client-ip", "x-remote-ip", "x-remote-addr", "x-proxyuser-ip"),
        *("x-cloud-trace-context", "x-appengine-user-ip", "x-azure-clientip", "x-azure-socketip", "x-arr-ssl"),
        *("x-nf-client-connection-ip", "x-varnish", "x-nginx-proxy", "x-proxy-id", "x-forward-for"),
    )
)
_FORWARDING_PREFIXES = ("x-forwarded", "x-original-", "cf-")
"""A header that has one of the names above, or begins with one of these, is added only by proxies."""

_OF_BROWSER = ("sec-fetch-", "sec-purpose")
"""Headers that only browsers send (Fetch Metadata). A web page can neither set nor remove them."""

_NO_PEER = (
    "the server does not report the client's address, as some servers do not over a unix socket; let the server also"
    " listen on 127.0.0.1, or use a side port"
)

_FOREIGN_PAGE = "a web page of another site made a browser send it"


class Local(Rule):
    """The rule of `pyvars.access.local`: requests of programs on this machine."""

    only_local: bool = True

    def refusal(self, request: Request) -> str:
        """See `Rule.refusal`."""
        if request.peer != "" and not is_loopback_address(request.peer or ""):
            peer = address_of((request.peer or "")[:46])  # the longest address has 45 characters
            return _NO_PEER if peer is None or peer.is_unspecified else "the client is on another machine"
        host, refusal = _host(request)
        if refusal:
            return refusal
        return "" if is_loopback(host) else "its Host is neither localhost nor a loopback address"


class Networks(Rule):
    """The rule of `pyvars.access.networks`: requests of clients in some networks."""

    def __init__(self, networks: Collection[str], hosts: Collection[str]) -> None:
        if not networks or not all(isinstance(network, str) for network in networks):
            raise ConfigurationError('networks() takes at least one network as text, such as "10.0.0.0/8"')
        try:
            self._networks = [ip_network(network) for network in networks]
        except ValueError as error:
            raise ConfigurationError(f"networks() takes networks such as 10.0.0.0/8: {error}") from None
        self._host_names = frozenset(_host_names(hosts))

    def refusal(self, request: Request) -> str:
        """See `Rule.refusal`."""
        peer = address_of(request.peer or "")
        if peer is None or not any(peer in network for network in self._networks):
            return "the client is in none of the networks"
        host, refusal = _host(request)
        if refusal:
            return refusal
        if host in self._host_names or address_of(host) is not None:
            return ""
        return "its Host is neither an address nor one of hosts=(...)"


def _host_names(hosts: object) -> list[str]:
    if isinstance(hosts, str | bytes) or not isinstance(hosts, Collection):
        raise ConfigurationError(f'hosts is a collection of names, such as ("metrics.internal",), got {hosts!r}')
    found: list[str] = []
    for host in cast("Collection[object]", hosts):
        name = host_name(host) if isinstance(host, str) and ":" not in host else None
        if name is None:
            raise ConfigurationError(f"hosts holds names without a port, such as metrics.internal, got {host!r}")
        found.append(name)
    return found


def _host(request: Request) -> tuple[str, str]:
    """Make the checks that `local` and `networks` share. Returns the name in the Host header, and the reason to refuse
    the request; one of the two is empty.
    """
    if request.server in _HIDING:
        return "", f"the server, {request.server}, removes the headers that tell whether a proxy forwarded it"
    hosts: list[str] = []
    origins: list[str] = []
    of_browser: dict[str, str] = {}
    for name, value in request.headers:
        if name == "host":
            hosts.append(value)
        elif name in _FORWARDING or name.startswith(_FORWARDING_PREFIXES):
            return "", "a proxy forwarded it"
        elif name == "origin":
            origins.append(value.lower())
        elif name.startswith(_OF_BROWSER):
            of_browser[name] = f"{of_browser[name]}, {value}" if name in of_browser else value
    if request.server in _OLD and request.http_version not in _VERSIONS:
        return "", f"the server, {request.server}, reports HTTP/1.0 for every request, as if it came from a proxy"
    if request.http_version not in _VERSIONS:
        return "", "it is not known to be HTTP/1.1, 2 or 3, so it may come from a proxy that speaks HTTP/1.0"
    if request.http_version.startswith("2") and request.scheme == "http":
        return "", "it is HTTP/2 without TLS, which hides whether it came through a proxy"
    host = host_name(hosts[0]) if len(hosts) == 1 else None
    if host is None:
        return "", "it has no Host, or more than one, or a malformed one"
    own = hosts[0].lower()
    if not all(origin in (f"http://{own}", f"https://{own}") for origin in origins):
        return "", _FOREIGN_PAGE
    if not of_browser or _is_of_own_page(of_browser):
        return host, ""
    if request.method == "GET" and not origins and _is_followed_link(of_browser):
        return host, ""
    return "", _FOREIGN_PAGE


def _is_of_own_page(of_browser: dict[str, str]) -> bool:
    """Whether a page of this site made the browser send it, or no page did, because the user typed in the address."""
    return of_browser.get("sec-fetch-site") in ("same-origin", "none")


def _is_followed_link(of_browser: dict[str, str]) -> bool:
    """Whether the user of the browser follows a link. The page with the link cannot read what the link opens."""
    return (
        of_browser.get("sec-fetch-mode") == "navigate"
        and of_browser.get("sec-fetch-dest") == "document"
        and "sec-purpose" not in of_browser  # a prefetch has it, before the user follows the link
    )
