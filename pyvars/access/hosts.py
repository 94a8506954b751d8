"""What the Host header of a request names."""

import re
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address

__all__ = ("address_of", "host_name", "is_loopback", "is_loopback_address")

_MAX_HOST = 253 + 6  # a name has at most 253 bytes (RFC 1035, section 2.3.4), a port at most five and its colon
_HOST = re.compile(
    r"(?:\[(?P<ipv6>[0-9a-f]*:[0-9a-f:.]+)\]|(?P<name>[0-9a-z_-]+(?:\.[0-9a-z_-]+)*)\.?)(?::[0-9]{0,5})?"
)


def host_name(host: str) -> str | None:
    """The name or address in a Host header, in lower case, without brackets, port and last dot; None if malformed."""
    return _host_name(host) if len(host) <= _MAX_HOST else None  # bounded, since clients fill the cache


@lru_cache(maxsize=256)
def _host_name(host: str) -> str | None:
    found = _HOST.fullmatch(host.lower()) if host.isascii() else None
    return found and (found["ipv6"] or found["name"])


def is_loopback(host: str) -> bool:
    """Whether the host is a loopback address or the name localhost."""
    return host == "localhost" or is_loopback_address(host)


def is_loopback_address(text: str) -> bool:
    """Whether the text is a loopback address of IPv4 or IPv6. An IPv4-mapped IPv6 address counts as IPv4."""
    return len(text) <= 45 and _is_loopback_address(text)  # the longest address has 45 characters


@lru_cache(maxsize=256)
def _is_loopback_address(text: str) -> bool:
    address = address_of(text)
    return address is not None and address.is_loopback


def address_of(text: str) -> IPv4Address | IPv6Address | None:
    """The address in the text, as IPv4 if it is an IPv4-mapped IPv6 address; None if the text is no address."""
    try:
        address = ip_address(text)
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:  # CPython 3.11 and 3.12 ignore it
        return address.ipv4_mapped
    return address
