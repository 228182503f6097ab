"""Downloading pictures from addresses that nobody vouches for.

One fetch is one or a few GET requests, each on a connection of its own that ends with it. For each: the URL is taken apart, its host
looked up once, every address judged (`addresses`), and the connection made to one of exactly those; there is no second look-up
between the check and its use. Host header, SNI and certificate check keep the host's name. A redirect starts again from the
top. Nothing is carried over: no cookie, no credential, no referer. What arrives is counted, never unpacked, and goes to `decoding`.

Proxies that the environment names are not used: a proxy looks names up itself, and would reach what only it can reach. A machine that
has no other way out cannot fetch pictures; the reason of a failed connection then says so. Certificates are checked against
certifi's authorities, or those of `SSL_CERT_FILE` or `SSL_CERT_DIR` (a company's own).
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import urllib.request
from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Literal, TypeVar

import httpcore
from PIL import Image

from llmi_env import __version__
from llmi_env.errors import ConfigError, LLMIError
from llmi_env.services.connections import tls_context
from llmi_env.tools.web.addresses import AddressRefused, AddressRules, Resolver, Target, parse_url
from llmi_env.tools.web.decoding import HEAD, NotAPicture, decode_picture, picture_format

__all__ = ["FetchFailed", "FetchLimits", "PictureFetcher"]

logger = logging.getLogger(__name__)

DECODERS = 2
"""Pictures decoded at once; each may take 0.7 GB while it lasts, at 40 million pixels."""
DIALLED = 4
"""Addresses of one host that are tried."""
DIAL_SECONDS = 4.0
"""For one of several addresses; a host's only one has all the time that is left."""
_REDIRECTS = (301, 302, 303, 307, 308)
_GONE = (204, 404, 410)
"""Statuses that speak of the address alone. All others may be the network's or the asker's: a key that is missing, a proxy, a country."""
_HEADERS = (
    ("Accept", "image/webp,image/png,image/jpeg,image/gif;q=0.9,image/bmp;q=0.5"),
    # A body is taken as it comes: a server that packs it all the same is found out by its bytes.
    ("Accept-Encoding", "identity"),
    ("Connection", "close"),
)

Value = TypeVar("Value")
FetchFault = Literal["source", "page", "world"]


def user_agent(contact: str, library: str) -> str:
    """Who asks, in the form that Wikimedia's policy prefers: `client/version (contact) library/version`."""
    return f"LLMI/{__version__} ({contact or 'llmi-env, an environment that writes illustrated documents'}) {library}"


@dataclass(frozen=True)
class FetchLimits:
    """Bounds of one fetch.

    Raises:
        ConfigError: a bound that lets nothing through.
    """

    bytes: int = 12_000_000
    """Of the body, as it is sent."""
    pixels: int = 40_000_000
    """Width times height, read before anything is decoded."""
    seconds: float = 15.0
    """For all of it: looking up, every redirect, body and decoding; waiting for a turn is not counted."""
    redirects: int = 4
    """Redirects followed."""

    def __post_init__(self) -> None:
        for name in ("bytes", "pixels", "seconds"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"fetch limits: {name} must be above 0, not {getattr(self, name)!r}")
        if self.redirects < 0:
            raise ConfigError(f"fetch limits: redirects must be 0 or more, not {self.redirects!r}")


class FetchFailed(LLMIError):
    """Raised when an address brings no picture.

    Attributes:
        reason: why, one clause; of the URL it holds the host's name at most, for the rest may hold keys.
        fault: `source` where this address is no good, now and later; `world` where the network, the time or a server that keeps us out
            may be to blame: in doubt it is the world. `page` where a web page came: of one address that may be its own fault, of all
            addresses it is that of a network that wants a log-in first.
    """

    def __init__(self, reason: str, fault: FetchFault) -> None:
        super().__init__(reason, fault)
        self.reason = reason
        self.fault: FetchFault = fault

    def __str__(self) -> str:
        return self.reason


class PictureFetcher:
    """Fetches pictures; belongs to one event loop.

    Args:
        limits: bounds of each fetch.
        resolve: looks host names up; the system's resolver by default.
        private: host names, addresses or ranges (`10.1.0.0/16`) that may be fetched from although they are not public.
        origin: URL whose scheme, host and port may be fetched from whatever address the host has; no other port of it.
        concurrency: fetches at once; others wait for their turn.
        contact: mail address or web page of whoever runs this, for the User-Agent.

    Raises:
        ConfigError: an entry of `private` that is none of these, or a concurrency below 1.
        AddressRefused: an `origin` that is no URL to fetch from.
    """

    def __init__(
        self,
        limits: FetchLimits = FetchLimits(),
        *,
        resolve: Resolver | None = None,
        private: Collection[str] = (),
        origin: str | None = None,
        concurrency: int = 16,
        contact: str = "",
    ) -> None:
        if concurrency < 1:
            raise ConfigError(f"fetching: concurrency must be 1 or more, not {concurrency!r}")
        self._limits = limits
        agent = user_agent(contact, f"httpcore/{httpcore.__version__}")
        self._headers = (("User-Agent", agent), *_HEADERS)
        self._resolve = self._ask_system if resolve is None else resolve
        self._rules = AddressRules(private)
        self._origin = None if origin is None else parse_url(origin).origin
        self._turns = asyncio.Semaphore(concurrency)
        self._workers = {"names": concurrency, "decoding": DECODERS}
        # Threads of its own: a name server that hangs, or a picture that takes seconds, must not take those that others wait for.
        self._threads: dict[str, ThreadPoolExecutor] = {}

    async def fetch(self, url: str) -> Image.Image:
        """The picture at a URL: RGB, its first frame, upright, transparency on white, without metadata.

        Raises:
            FetchFailed: there is none, or not one that may be let in.
        """
        async with self._turns:
            try:
                async with asyncio.timeout(self._limits.seconds):
                    body = await self._download(parse_url(url))
                    return await self._in_thread("decoding", partial(decode_picture, body, pixels=self._limits.pixels))
            except NotAPicture as error:
                raise FetchFailed(error.reason, "page" if error.page else "source") from error
            except AddressRefused as error:
                raise FetchFailed(error.reason, "source") from error
            except TimeoutError as error:
                raise FetchFailed(f"it took longer than {self._limits.seconds:g} s", "world") from error
            except (httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError, OSError) as error:
                raise FetchFailed(_what_broke(error), "world") from error

    async def aclose(self) -> None:
        """Let the threads go; fetches in flight end as they would, and a later one starts threads again."""
        threads, self._threads = self._threads, {}
        for pool in threads.values():
            pool.shutdown(wait=False)

    async def _download(self, target: Target) -> bytes:
        for hop in range(self._limits.redirects + 1):
            answer = await self._get(target, await self._look_up(target, redirected=hop > 0))
            if isinstance(answer, bytes):
                return answer
            target = answer
        raise FetchFailed(f"it redirects more than {self._limits.redirects} times", "source")

    async def _look_up(self, target: Target, redirected: bool) -> list[str]:
        """The addresses to connect to, each of them checked."""
        if target.address is not None:
            answers: Sequence[str] = [str(target.address)]
        else:
            try:
                answers = await self._resolve(target.host, target.port)
            except Exception as error:  # whatever a resolver raises: it may be anyone's
                raise FetchFailed(f"the host {target.host} cannot be looked up", "world") from error
        if target.origin == self._origin and answers:
            return list(answers)
        try:
            return self._rules.allowed(target.host, answers)
        except AddressRefused as error:
            # Who wrote an address meant it. Names and redirects are also answered by what stands between: a portal, a resolver that filters.
            written = target.address is not None and not redirected
            raise FetchFailed(error.reason, "source" if written else "world") from error

    async def _ask_system(self, host: str, port: int) -> Sequence[str]:
        ask = partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
        return [str(entry[4][0]) for entry in await self._in_thread("names", ask)]

    async def _get(self, target: Target, addresses: Sequence[str]) -> bytes | Target:
        """The body, or where the server redirects to."""
        dial = _Dial(addresses)
        host, scheme = target.host.encode("ascii"), target.scheme.encode("ascii")
        tls = await asyncio.to_thread(tls_context) if target.scheme == "https" else None
        connection = httpcore.AsyncHTTPConnection(
            httpcore.Origin(scheme, host, target.port),
            ssl_context=tls,
            network_backend=dial,
        )
        url = httpcore.URL(scheme=scheme, host=host, port=target.port, target=target.path)
        try:
            async with connection.stream("GET", url, headers=[("Host", target.authority), *self._headers]) as response:
                if response.status in _REDIRECTS:
                    return target.redirected(_location(response))
                _check_status(response.status)
                return await self._read(response)
        finally:
            await dial.aclose()

    async def _read(self, response: httpcore.Response) -> bytes:
        most = self._limits.bytes
        declared = _header(response, b"content-length") or b""
        if declared.isdigit() and int(declared) > most:
            raise FetchFailed(f"it is larger than {most} bytes", "source")
        body, looked = bytearray(), False
        async for chunk in response.aiter_stream():
            body += chunk
            if len(body) > most:
                raise FetchFailed(f"it is larger than {most} bytes", "source")
            if not looked and len(body) >= HEAD:
                picture_format(bytes(body[:HEAD]))
                looked = True
        return bytes(body)

    async def _in_thread(self, name: str, work: Callable[[], Value]) -> Value:
        if name not in self._threads:
            self._threads[name] = ThreadPoolExecutor(self._workers[name], thread_name_prefix=f"llmi-{name}")
        return await asyncio.get_running_loop().run_in_executor(self._threads[name], work)


class _Dial(httpcore.AsyncNetworkBackend):
    """Connects once, to addresses that were checked, whatever name the connection is for; closes what it opened."""

    def __init__(self, addresses: Sequence[str]) -> None:
        self._addresses = addresses[:DIALLED]
        self._network = httpcore.AnyIOBackend()
        self._stream: httpcore.AsyncNetworkStream | None = None

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect to the first address that answers."""
        for address in self._addresses:
            last = address == self._addresses[-1]
            try:
                self._stream = await self._network.connect_tcp(address, port, timeout if last else DIAL_SECONDS)
                return self._stream
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                if last:
                    raise
                logger.debug("%s does not answer at %s", host, address)
        raise httpcore.ConnectError("no address to connect to")

    async def aclose(self) -> None:
        """Close the connection, in whatever state it is: httpcore leaves one open that is cancelled inside a TLS handshake."""
        if self._stream is not None:
            await self._stream.aclose()


def _header(response: httpcore.Response, name: bytes) -> bytes | None:
    return next((value for key, value in response.headers if key.lower() == name), None)


def _location(response: httpcore.Response) -> str:
    value = _header(response, b"location")
    if not value:
        raise FetchFailed("it redirects to nowhere", "source")
    return value.decode("utf-8", "replace")


def _check_status(status: int) -> None:
    if status == 200:
        return
    raise FetchFailed(f"the server answers {status}", "source" if status in _GONE else "world")


def _what_broke(error: Exception) -> str:
    if isinstance(error.__cause__, ssl.SSLCertVerificationError) or "CERTIFICATE_VERIFY_FAILED" in str(error):
        return "the server's certificate is not trusted"
    if isinstance(error, httpcore.ConnectError | httpcore.ConnectTimeout):
        proxies = urllib.request.getproxies()
        hint = ", and proxies are not used for pictures" if "http" in proxies or "https" in proxies else ""
        return f"the server cannot be reached{hint}"
    if isinstance(error, httpcore.ProtocolError):
        return "the answer is cut short, or is not HTTP"
    return "the connection broke"
