"""Which addresses pictures may be fetched from.

Three steps, each for every redirect again: a URL is taken apart strictly (`parse_url`), its host becomes IP addresses once (a
`Resolver`), and each of them is judged (`AddressRules`). Only the public internet passes; what a user names as `private` passes
too. Judged are numbers, never names: whatever way a host is written, and whoever answers for it, the number decides.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Literal

import httpx

from llmi_env.errors import ConfigError, LLMIError

__all__ = ["AddressRefused", "AddressRules", "Resolver", "Target", "kind_of_address", "parse_url"]

Resolver = Callable[[str, int], Awaitable[Sequence[str]]]
"""From a host name and a port to IP addresses as text, best first. Raises `OSError` where the name is not known."""

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network

MAX_URL = 8192
"""Characters of a URL; signed addresses of picture stores take up to two thousand."""
_PORTS = {"http": 80, "https": 443}
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_HOST_NAME = re.compile(rf"(?=.{{1,253}}\Z){_LABEL}(?:\.{_LABEL})*")
_PORT = re.compile(r"(?:\]|\A[^:]*)(?::[0-9]{0,5})?\Z")
_NUMBER = re.compile(r"\d+|0x[0-9a-f]*")

# The special-purpose registries of IANA (RFC 6890 and its updates), as numbers: what `ipaddress` calls global changes with the
# version of Python, counts multicast in, and knows of no cloud.
_SPECIAL: tuple[tuple[str, str], ...] = (
    ("0.0.0.0/8", "an unspecified"),
    ("10.0.0.0/8", "a private"),
    ("100.64.0.0/10", "a carrier's shared"),
    ("127.0.0.0/8", "a loopback"),
    ("168.63.129.16/32", "a cloud's metadata"),  # Azure's; everyone else's is link-local, shared or unique local
    ("169.254.0.0/16", "a link-local or metadata"),
    ("172.16.0.0/12", "a private"),
    ("192.0.0.0/24", "a reserved"),
    ("192.0.2.0/24", "a documentation"),
    ("192.88.99.0/24", "a reserved"),
    ("192.168.0.0/16", "a private"),
    ("198.18.0.0/15", "a benchmarking"),
    ("198.51.100.0/24", "a documentation"),
    ("203.0.113.0/24", "a documentation"),
    ("224.0.0.0/4", "a multicast"),
    ("240.0.0.0/4", "a reserved"),
    ("::/128", "an unspecified"),
    ("::1/128", "a loopback"),
    ("2001::/23", "a reserved"),  # Teredo among them
    ("2001:db8::/32", "a documentation"),
    ("2002::/16", "a 6to4"),
    ("3fff::/20", "a documentation"),
    ("fc00::/7", "a private"),
    ("fe80::/10", "a link-local"),
    ("ff00::/8", "a multicast"),
)
_TABLE = tuple((ipaddress.ip_network(network), kind) for network, kind in _SPECIAL)
_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_ISATAP = (0x0000_5EFE, 0x0200_5EFE)
"""Upper half of an interface identifier whose lower half is an IPv4 address (RFC 5214)."""


class AddressRefused(LLMIError, ValueError):
    """Raised when a URL, or an address that its host stands for, is not fetched from.

    Attributes:
        reason: why, one clause; it holds no more of the URL than the host's name.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True)
class Target:
    """Where one request goes.

    Attributes:
        scheme: `http` or `https`.
        host: a host name in ASCII and lower case without a trailing dot, or an IP address without brackets.
        port: 1 to 65535.
        path: path and query, percent-encoded.
        address: the IP address, where the host is one.
    """

    scheme: Literal["http", "https"]
    host: str
    port: int
    path: bytes
    address: IPAddress | None = None

    @property
    def authority(self) -> str:
        """Host and port as the `Host` header has them; the scheme's own port is left out."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def origin(self) -> tuple[str, str, int]:
        """Scheme, host and port."""
        return self.scheme, self.host, self.port

    def redirected(self, location: str) -> Target:
        """Where a redirect to `location` leads, which may be relative. Raises `AddressRefused`."""
        base = httpx.URL(f"{self.scheme}://{self.authority}{self.path.decode('ascii')}")
        try:
            joined = str(base.join(location))
        except (httpx.InvalidURL, ValueError) as error:
            raise AddressRefused("it redirects to something that is not a URL") from error
        return parse_url(joined)


def parse_url(text: str) -> Target:
    """Take a URL apart; whatever two parsers could read in two ways is refused.

    >>> parse_url("https://Commons.example:8443/owl.png?width=640#top")
    Target(scheme='https', host='commons.example', port=8443, path=b'/owl.png?width=640', address=None)

    Raises:
        AddressRefused: not http(s), a user name or password, a backslash or control character, a host that is neither a name nor an
            address in its usual notation, a port out of range.
    """
    if len(text) > MAX_URL:
        raise AddressRefused(f"the URL is longer than {MAX_URL} characters")
    if "\\" in text or any(ord(char) < 0x20 or 0x7F <= ord(char) < 0xA0 for char in text):
        raise AddressRefused("the URL holds a backslash or a control character")
    try:
        url = httpx.URL(text)
    except (httpx.InvalidURL, ValueError) as error:
        raise AddressRefused("the URL cannot be read") from error
    if url.scheme not in _PORTS:
        raise AddressRefused("the URL is not one of http or https")
    scheme: Literal["http", "https"] = "https" if url.scheme == "https" else "http"
    authority = re.split(r"[/?#]", text.partition("://")[2], maxsplit=1)[0]
    if "@" in authority:
        raise AddressRefused("the URL holds a user name or password")
    if not _PORT.search(authority):
        raise AddressRefused("the URL names a port that is not a plain number")
    port = _PORTS[scheme] if url.port is None else url.port
    if not 0 < port < 65536:
        raise AddressRefused(f"the URL names port {port}, which does not exist")
    host, address = _parse_host(url.raw_host.decode("ascii").lower())
    return Target(scheme, host, port, url.raw_path, address)


def _parse_host(host: str) -> tuple[str, IPAddress | None]:
    """The host as it is asked for, and its address where it is one."""
    host = host.removesuffix(".")
    if ":" in host:
        return host, _parse_address(host)
    if not _HOST_NAME.fullmatch(host):
        raise AddressRefused("the URL names no host, or one that cannot exist")
    # Whatever ends in a number is an IPv4 address to browsers and to C libraries, in octal, hexadecimal or fewer parts too.
    if _NUMBER.fullmatch(host.rpartition(".")[2]):
        return host, _parse_address(host)
    return host, None


def _parse_address(text: str) -> IPAddress:
    try:
        address = ipaddress.ip_address(text)
    except ValueError as error:
        raise AddressRefused("the URL has an IP address in an unusual notation") from error
    if getattr(address, "scope_id", None):
        raise AddressRefused("the URL has an IP address with a zone")
    return address


def kind_of_address(address: IPAddress) -> str | None:
    """What an address outside the public internet is, with its article (`"a private"`); `None` for a public one.

    An IPv4 address inside an IPv6 one (mapped, or behind NAT64) is judged as itself. Other ways to put one inside (6to4, Teredo,
    ISATAP, IPv4-compatible) are never public: no picture is published there.
    """
    if isinstance(address, ipaddress.IPv6Address):
        if address.scope_id:
            return "a link-local"
        if address.ipv4_mapped is not None:
            return kind_of_address(address.ipv4_mapped)
        if address in _NAT64:
            return kind_of_address(ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF))
    for network, kind in _TABLE:
        if address.version == network.version and address in network:
            return kind
    if isinstance(address, ipaddress.IPv6Address):
        if address not in _GLOBAL_UNICAST:
            return "a reserved"
        if int(address) >> 32 & 0xFFFF_FFFF in _ISATAP:
            return "an ISATAP"
    return None


class AddressRules:
    """Judges the addresses that a host stands for.

    Args:
        private: host names, IP addresses or ranges of them (`10.1.0.0/16`) that may be fetched from although they are not public. A
            name covers whatever addresses it stands for; a range covers whatever name stands for them.

    Raises:
        ConfigError: an entry that is none of these.
    """

    def __init__(self, private: Collection[str] = ()) -> None:
        if isinstance(private, str):
            raise ConfigError(f"private is a list of host names and address ranges, not the text {private!r}")
        self._names: set[str] = set()
        self._ranges: list[IPNetwork] = []
        for entry in private:
            self._add(entry)

    def _add(self, entry: str) -> None:
        try:
            self._ranges.append(ipaddress.ip_network(entry))
            return
        except ValueError as error:
            if "host bits" in str(error):
                whole = ipaddress.ip_network(entry, strict=False)
                raise ConfigError(
                    f"private: {entry!r} is inside a range; the range itself is {str(whole)!r}"
                ) from error
        name = entry.lower().removesuffix(".")
        if not _HOST_NAME.fullmatch(name) or _NUMBER.fullmatch(name.rpartition(".")[2]):
            raise ConfigError(
                f"private: {entry!r} is neither a host name ('pictures.lan') nor an address range ('10.1.0.0/16'); "
                "scheme, port and path are left out"
            )
        self._names.add(name)

    def allowed(self, host: str, answers: Sequence[str]) -> list[str]:
        """The addresses to connect to, in the order of `answers`, each once.

        Raises:
            AddressRefused: there is none, or one of them is not to be fetched from. An answer that mixes is not trusted at all.
        """
        allowed: list[str] = []
        for answer in answers:
            try:
                address = ipaddress.ip_address(answer)
            except ValueError as error:
                raise AddressRefused(f"{host} stands for something that is not an IP address") from error
            mapped = getattr(address, "ipv4_mapped", None)
            address = address if mapped is None else mapped
            kind = kind_of_address(address)
            if kind is not None and host not in self._names and not self._in_ranges(address):
                raise AddressRefused(f"{host} has {kind} address, and only public ones are fetched from")
            if str(address) not in allowed:
                allowed.append(str(address))
        if not allowed:
            raise AddressRefused(f"{host} has no address")
        return allowed

    def _in_ranges(self, address: IPAddress) -> bool:
        return any(address.version == network.version and address in network for network in self._ranges)
