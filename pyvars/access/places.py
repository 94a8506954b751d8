"""The access rules that look at the origin of a request: this machine, or a network."""

from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from pyvars.access.request import Request
from pyvars.access.rules import Rule
from pyvars.errors import ConfigurationError

__all__ = ("Local", "Networks", "is_loopback")

_FORWARDING = frozenset(
    (
        *("forwarded", "via", "cdn-loop", "cf-ray", "cf-connecting-ip", "x-amzn-trace-id", "x-envoy-external-address"),
        *("x-real-ip", "x-client-ip", "x-cluster-client-ip", "client-ip", "true-client-ip", "fastly-client-ip"),
        *("fly-client-ip", "x-original-forwarded-for", "x-original-host", "x-original-url"),
    )
)
"""Headers that only proxies add, beside those that begin with x-forwarded."""

_MAX_HOST = 253 + 6  # a name has at most 253 bytes (RFC 1035, section 2.3.4), a port at most five and its colon


class Local(Rule):
    """The rule of `pyvars.access.local`: requests of programs on this machine."""

    only_local: bool = True

    def refusal(self, request: Request) -> str:
        """See `Rule.refusal`."""
        if request.peer is None:
            return "the server does not report the peer's address"
        if request.peer and not is_loopback(request.peer):
            return "the peer is another machine"
        hosts = _hosts(request)
        if hosts is None:
            return "a proxy forwarded it"
        if request.http_version in ("1.0", "0.9"):
            return "it is HTTP/1.0, which proxies speak"
        return "" if len(hosts) == 1 and is_loopback(_name(hosts[0])) else "its Host is not a name of this machine"


class Networks(Rule):
    """The rule of `pyvars.access.networks`: requests of clients in some networks."""

    def __init__(self, networks: Sequence[str], hosts: Sequence[str]) -> None:
        try:
            self._networks = [ip_network(network) for network in networks]
        except ValueError as error:
            raise ConfigurationError(f"networks() takes networks such as 10.0.0.0/8: {error}") from None
        if not self._networks:
            raise ConfigurationError('networks() takes at least one network, such as "10.0.0.0/8"')
        self._host_names = frozenset(host.lower().removesuffix(".") for host in hosts)

    def refusal(self, request: Request) -> str:
        """See `Rule.refusal`."""
        peer = _address(request.peer or "")
        if peer is None or not any(peer in network for network in self._networks):
            return "the peer is in none of the networks"
        hosts = _hosts(request)
        if hosts is None or request.http_version in ("1.0", "0.9"):
            return "a proxy forwarded it"
        if len(hosts) != 1:
            return "it has no Host, or more than one"
        name = _name(hosts[0])
        if name in self._host_names or _address(name) is not None:
            return ""
        return "its Host is neither an address nor one of hosts=(...)"


def is_loopback(address: str) -> bool:
    """Whether the text is a loopback address or the name localhost. IPv4 mapped into IPv6 is unwrapped."""
    return len(address) < 64 and _is_loopback(address)  # bounded, since the cache is filled with text of clients


@lru_cache(maxsize=256)
def _is_loopback(address: str) -> bool:
    ip = _address(address)
    return address == "localhost" or (ip is not None and ip.is_loopback)


def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        ip = ip_address(text)
    except ValueError:
        return None
    if isinstance(ip, IPv6Address) and ip.ipv4_mapped is not None:  # CPython 3.11 and 3.12 do not look inside
        return ip.ipv4_mapped
    return ip


def _hosts(request: Request) -> list[str] | None:
    """The values of the Host headers; None if a header says that the request was forwarded."""
    hosts: list[str] = []
    for name, value in request.headers:
        if name == "host":
            hosts.append(value)
        elif name in _FORWARDING or name.startswith("x-forwarded"):
            return None
    return hosts


def _name(host: str) -> str:
    """The name or address in a Host header, without brackets and port; empty if it is malformed."""
    return _name_in(host) if len(host) <= _MAX_HOST else ""


@lru_cache(maxsize=256)
def _name_in(host: str) -> str:
    name, bracket, port = host.lower().rpartition("]")
    if bracket:
        return name[1:] if name.startswith("[") and ":" in name and _is_port(port) else ""
    name, colon, port = host.lower().partition(":")
    return name.removesuffix(".") if _is_port(colon + port) else ""


def _is_port(port: str) -> bool:
    return port in ("", ":") or (port.startswith(":") and port[1:].isascii() and port[1:].isdigit())
