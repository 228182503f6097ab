"""What a policy wrote cannot break out of the page."""

import re
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from llmi_env.calls import Call
from llmi_env.chart_reading import ChartReading, Mark
from llmi_env.document import Document, Failure, Figure, Picture, Provenance, Text
from llmi_env.report.document_html import document_html, text_html

TEXT_TAGS = "p br hr em strong s code pre blockquote ul ol li h1 h2 h3 h4 h5 h6 table thead tbody tr th td"
FIGURE_TAGS = "figure img figcaption details summary small"
ALLOWED = {*TEXT_TAGS.split(), *FIGURE_TAGS.split()}


class _Elements(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))


def elements(page: str) -> list[tuple[str, dict[str, str | None]]]:
    parser = _Elements()
    parser.feed(page)
    return parser.seen


def hostile_document(text: str) -> Document:
    chart = ChartReading((Mark(text[:60], text[:60], 1.5, 0.5),)).to_json()
    picture = Picture(
        Image.new("RGB", (4, 4)), Provenance("corpus", title=text, author=text, licence=text, chart=chart)
    )
    call = Call(text, text, {"query": text})
    return Document(
        (
            Text(text or " "),
            Figure(text, call, picture),
            Figure(text, call, Failure("raised", "policy", text)),
            Figure(text, None, Failure("malformed", "policy", text), closed=False),
        )
    )


ATTACKS = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    '"><svg onload=alert(1)>',
    "[x](javascript:alert(1))",
    "![p](http://tracker.example/p.png)",
    "<iframe src=//evil.example></iframe>",
    "</figcaption></figure><form action=//evil.example>",
    "<style>body{display:none}</style>",
    "<a href='data:text/html,<script>x</script>'>y</a>",
    "&lt;script&gt; `</pre><script>`",
    "<!-- <p> -->]]>",
    "\x00<\x00script>",
]


@pytest.mark.parametrize("attack", ATTACKS)
def test_attacks_stay_text(attack: str) -> None:
    for tag, attributes in elements(document_html(hostile_document(attack))):
        assert tag in ALLOWED
        assert not [name for name in attributes if name.startswith("on") or name in ("style", "href")]
        if tag == "img":
            assert str(attributes["src"]).startswith("data:image/png;base64,")


@given(st.text(max_size=200))
def test_any_text_gives_allowed_elements_only(text: str) -> None:
    assert {tag for tag, _ in elements(document_html(hostile_document(text)))} <= ALLOWED


def test_markdown_is_kept() -> None:
    assert text_html("# Owls\n\nThey *see*.") == "<h1>Owls</h1>\n<p>They <em>see</em>.</p>\n"


def test_figures_stand_in_order_with_their_origin() -> None:
    picture = Picture(Image.new("RGB", (4, 4)), Provenance("corpus", title="Owl", author="A. Uthor", licence="CC0-1.0"))
    document = Document(
        (
            Text("before"),
            Figure("{}", Call("search", "an owl", {"query": "owl"}), picture),
            Text("after"),
            Figure("x", None, Failure("malformed", "policy", "not JSON")),
        )
    )
    page = document_html(document)
    assert re.search(r"before.*<figure>.*an owl.*A\. Uthor · CC0-1\.0.*after.*malformed, the policy", page, re.DOTALL)


def test_what_was_read_off_a_chart_is_told_shortly() -> None:
    marks = tuple(Mark("bar", f"<b>{index}</b>", index / 2, 0.5) for index in range(14))
    call = Call("code", "bars", {"code": "plt"})

    def page(chart: str) -> str:
        picture = Picture(Image.new("RGB", (4, 4)), Provenance("landlock", chart=chart))
        return document_html(Document((Figure(call.to_json(), call, picture),)))

    told = page(ChartReading(marks, 0.25, 0.1, 0.8, True).to_json())
    assert "bar &lt;b&gt;1&lt;/b&gt; 0.5; " in told
    assert "and 2 more; seen 25%, ink 10% of the page, axes 80%; numbers of an axis renamed" in told
    assert "read off" not in page("")
    assert "read off" not in page("{broken")
