"""A web of one's own: search services that answer as their documentation says, or badly, and the pictures behind their hits."""

from __future__ import annotations

import io
import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit

import numpy as np
from PIL import Image


@dataclass(frozen=True)
class Asked:
    """One request as it came: path, fields of its query, headers in lower case, body."""

    method: str
    path: str
    params: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes = b""


@dataclass(frozen=True)
class Reply:
    """What is answered; `wait` seconds late, `length` may promise more than comes, `dripping` never ends."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    wait: float = 0.0
    length: int | None = None
    dripping: bool = False


Answer = Reply | Callable[[Asked], Reply]


def as_json(data: Any, status: int = 200, **headers: str) -> Reply:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply(status, json.dumps(data).encode(), {"Content-Type": "application/json", **named})


def html(status: int = 200) -> Reply:
    page = b"<!DOCTYPE html><html><head><title>Just a moment...</title></head><body>Checking your browser</body></html>"
    return Reply(status, page, {"Content-Type": "text/html"})


class _Traffic:
    """Requests since the last `forget`: how many are open, and whether they still are to be answered in their time."""

    def __init__(self) -> None:
        self.open = self.most = 0
        self.lock = threading.Lock()
        self.over = threading.Event()


class Web:
    """Serves answers by path on a port of its own while the block lasts; every other path is a 404 in JSON.

    Attributes:
        answers: what is answered, by path.
        asked: every request so far.
    """

    def __init__(self, host: str = "127.0.0.1", **answers: Answer) -> None:
        self.answers: dict[str, Answer] = {f"/{path}": answer for path, answer in answers.items()}
        self.asked: list[Asked] = []
        self._traffic = _Traffic()
        web = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                web._serve(self)

            def do_POST(self) -> None:
                web._serve(self)

            def log_message(self, format: str, *args: Any) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer((host, 0), Handler)
        self._server.daemon_threads = True

    @property
    def url(self) -> str:
        host, port = self._server.server_address[:2]
        return f"http://{host!s}:{port}"

    @property
    def most_at_once(self) -> int:
        """Requests that were open at the same time, at most."""
        return self._traffic.most

    def forget(self) -> None:
        """Answer nothing any more, not even those that wait for an answer, and forget who asked."""
        self.answers.clear()
        self.asked.clear()
        self._traffic.over.set()
        self._traffic = _Traffic()

    def paths(self) -> list[str]:
        return [asked.path for asked in self.asked]

    def picture(self, name: str, look: int, wait: float = 0.0, **more: Any) -> str:
        """Put a picture there; its address. `look` decides what it looks like."""
        self.answers[f"/{name}"] = Reply(200, png(look, **more), {"Content-Type": "image/png"}, wait)
        return f"{self.url}/{name}"

    def __enter__(self) -> Self:
        threading.Thread(target=lambda: self._server.serve_forever(poll_interval=0.02), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._traffic.over.set()
        self._server.shutdown()
        self._server.server_close()

    def _serve(self, handler: BaseHTTPRequestHandler) -> None:
        parts = urlsplit(handler.path)
        body = handler.rfile.read(int(handler.headers.get("content-length") or 0))
        headers = {name.lower(): value for name, value in handler.headers.items()}
        asked = Asked(handler.command, parts.path, dict(parse_qsl(parts.query, True)), headers, body)
        self.asked.append(asked)
        traffic = self._traffic
        with traffic.lock:
            traffic.open += 1
            traffic.most = max(traffic.most, traffic.open)
        try:
            self._answer(handler, asked, traffic.over)
        finally:
            with traffic.lock:
                traffic.open -= 1

    def _answer(self, handler: BaseHTTPRequestHandler, asked: Asked, over: threading.Event) -> None:
        answer = self.answers.get(asked.path, as_json({"detail": "Not found."}, 404))
        reply = answer if isinstance(answer, Reply) else answer(asked)
        over.wait(reply.wait)
        try:
            handler.send_response(reply.status)
            for name, value in {**reply.headers, "Connection": "close"}.items():
                handler.send_header(name, value)
            handler.send_header("Content-Length", str(len(reply.body) if reply.length is None else reply.length))
            handler.end_headers()
            handler.wfile.write(reply.body)
            while reply.dripping and not over.is_set():
                handler.wfile.write(b" ")
                handler.wfile.flush()
                time.sleep(0.02)
        except OSError:  # who asked has gone
            pass
        handler.close_connection = True


def picture(look: int, size: tuple[int, int] = (160, 120)) -> Image.Image:
    """A picture like no other of another `look`: blotches of colour."""
    blotches = np.random.default_rng(look).integers(0, 255, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(blotches).resize(size, Image.Resampling.BICUBIC)


def png(look: int, **more: Any) -> bytes:
    buffer = io.BytesIO()
    picture(look, **more).save(buffer, "PNG")
    return buffer.getvalue()


# ------------------------------------------------------------------------------------- answers as they are documented


def commons(*pictures: str, **about: Any) -> dict[str, Any]:
    """Commons' answer to `generator=search&prop=imageinfo` with `formatversion=2`.

    https://www.mediawiki.org/wiki/API:Imageinfo and https://www.mediawiki.org/wiki/Extension:CommonsMetadata: pages come in the order of their
    ids, `index` is the rank; the values of `extmetadata` are HTML.
    """
    if not pictures:
        return {"batchcomplete": True}
    pages = [
        {
            "pageid": 1000 - rank,
            "ns": 6,
            "title": f"File:Barn owl {rank}.jpg",
            "index": rank,
            "imagerepository": "local",
            "imageinfo": [
                {
                    "size": 2_412_882,
                    "width": 4000,
                    "height": 3000,
                    "thumburl": url,
                    "thumbwidth": 1280,
                    "thumbheight": 960,
                    "url": f"{url}.original",
                    "descriptionurl": f"https://commons.wikimedia.org/wiki/File:Barn_owl_{rank}.jpg",
                    "descriptionshorturl": "https://commons.wikimedia.org/w/index.php?curid=1",
                    "mime": "image/jpeg",
                    "mediatype": "BITMAP",
                    "extmetadata": {
                        "Artist": {
                            "value": '<a href="//commons.wikimedia.org/wiki/User:Ann" title="User:Ann">Ann &amp; Bob</a>',
                            "source": "commons-desc-page",
                        },
                        "ImageDescription": {
                            "value": "<p>A <b>barn owl</b><br>in flight<script>alert(1)</script></p>",
                            "source": "commons-desc-page",
                        },
                        "LicenseShortName": {"value": "CC BY-SA 4.0", "source": "commons-desc-page", "hidden": ""},
                        "UsageTerms": {"value": "Creative Commons Attribution-Share Alike 4.0"},
                        **about,
                    },
                }
            ],
        }
        for rank, url in enumerate(pictures, start=1)
    ]
    return {
        "batchcomplete": True,
        "continue": {"gsroffset": 10, "continue": "gsroffset||"},
        "query": {"pages": pages[::-1]},
    }


def openverse(*pictures: str) -> dict[str, Any]:
    """Openverse's answer to `GET /v1/images/`.

    https://api.openverse.org/v1/#tag/images/operation/images_search, with the fields of its example.
    """
    results = [
        {
            "id": f"4bc43a04-ef46-4544-a0c1-{rank:012}",
            "title": f"Tree Bark Photo {rank}",
            "indexed_on": "2022-08-27T17:39:48Z",
            "foreign_landing_url": f"https://stocksnap.io/photo/{rank}",
            "url": url,
            "creator": "Tim Sullivan",
            "creator_url": "https://www.secretagencygroup.com",
            "license": "by-sa",
            "license_version": "2.0",
            "license_url": "https://creativecommons.org/licenses/by-sa/2.0/",
            "provider": "stocksnap",
            "source": "stocksnap",
            "category": "photograph",
            "filesize": 896128,
            "filetype": "jpg",
            "tags": [{"accuracy": None, "name": "tree", "unstable__provider": "stocksnap"}],
            "attribution": '"Tree Bark Photo" by Tim Sullivan is licensed under CC BY-SA 2.0.',
            "fields_matched": ["title"],
            "mature": False,
            "height": 4016,
            "width": 6016,
            "thumbnail": "https://api.openverse.org/v1/images/4bc43a04/thumb/",
            "detail_url": "https://api.openverse.org/v1/images/4bc43a04/",
            "related_url": "https://api.openverse.org/v1/images/4bc43a04/related/",
        }
        for rank, url in enumerate(pictures)
    ]
    return {"result_count": len(results), "page_count": 1, "page_size": 20, "page": 1, "results": results}


def serpapi(*pictures: str) -> dict[str, Any]:
    """SerpAPI's answer for Google Images: https://serpapi.com/google-images-api; none found: https://serpapi.com/search-errors."""
    answer: dict[str, Any] = {
        "search_metadata": {
            "id": "64c32cfe",
            "status": "Success",
            "json_endpoint": "https://serpapi.com/searches/6.json",
        },
        "search_parameters": {"engine": "google_images", "q": "Coffee"},
    }
    if not pictures:
        return {
            **answer,
            "search_information": {"image_results_state": "Fully empty"},
            "error": "Google hasn't returned any results for this query.",
        }
    results = [
        {
            "position": rank,
            "thumbnail": "https://serpapi.com/searches/6/images/1.jpeg",
            "related_content_id": "abc",
            "source": "Wikipedia",
            "source_logo": "https://serpapi.com/searches/6/images/2.png",
            "title": f"Coffee &amp; more {rank} - Wikipedia",
            "link": f"https://en.wikipedia.org/wiki/Coffee{rank}",
            "original": url,
            "original_width": 1200,
            "original_height": 900,
            "is_product": False,
        }
        for rank, url in enumerate(pictures, start=1)
    ]
    return {**answer, "images_results": results}


def bing(*pictures: str) -> dict[str, Any]:
    """The answer of Bing's Image Search API v7.

    https://learn.microsoft.com/en-us/bing/search-apis/bing-image-search/reference/response-objects
    """
    images = [
        {
            "webSearchUrl": "https://www.bing.com/images/search?view=detailv2",
            "name": f"Mount Rainier {rank}",
            "thumbnailUrl": "https://tse3.mm.bing.net/th?id=OIP.1",
            "datePublished": "2019-02-12T12:00:00.0000000Z",
            "contentUrl": url,
            "hostPageUrl": f"https://www.nps.gov/mora/{rank}",
            "contentSize": "1038137 B",
            "encodingFormat": "jpeg",
            "hostPageDisplayUrl": "https://www.nps.gov/mora",
            "width": 1600,
            "height": 1200,
            "thumbnail": {"width": 474, "height": 355},
            "imageId": "1",
        }
        for rank, url in enumerate(pictures)
    ]
    return {
        "_type": "Images",
        "readLink": "images/search?q=rainier",
        "totalEstimatedMatches": len(images),
        "value": images,
    }


def searxng(*pictures: str, silent: tuple[str, ...] = ()) -> dict[str, Any]:
    """SearXNG's answer with `format=json&categories=images`.

    https://docs.searxng.org/dev/search_api.html and https://docs.searxng.org/dev/result_types/main/image.html
    """
    results = [
        {
            "template": "images.html",
            "url": f"https://www.flickr.com/photos/{rank}",
            "title": f"Lighthouse {rank}",
            "content": "A lighthouse on a rock",
            "img_src": url,
            "thumbnail_src": "https://live.staticflickr.com/1_n.jpg",
            "resolution": "1024 x 768",
            "img_format": "jpeg",
            "source": "flickr",
            "author": "Keeper",
            "engine": "flickr",
            "engines": ["flickr"],
            "positions": [rank + 1],
            "score": 1.0,
            "category": "images",
        }
        for rank, url in enumerate(pictures)
    ]
    return {
        "query": "lighthouse",
        "number_of_results": 0,
        "results": results,
        "answers": [],
        "corrections": [],
        "infoboxes": [],
        "suggestions": [],
        "unresponsive_engines": [[engine, "Suspended: too many requests"] for engine in silent],
    }


def photos(*pictures: str) -> dict[str, Any]:
    """An endpoint of nobody in particular, in the manner of those of photo agencies."""
    found = [
        {"alt": f"A lake {rank}", "who": {"name": "Eve"}, "sizes": [{"src": url, "w": 900, "h": 600}], "terms": "CC0"}
        for rank, url in enumerate(pictures)
    ]
    return {"data": {"photos": found}, "total": len(found)}
