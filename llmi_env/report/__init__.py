"""Pages for people: the report of a run, and one document as a page.

Both are single HTML files without scripts. What a policy wrote is hostile: text is rendered as Markdown without HTML and passed through a
sanitiser, everything else is escaped, pictures are data URLs of our own PNG bytes, sounds are data URLs of the few types that are let in, and
the page's policy forbids loading anything.
"""

from llmi_env.report.document_html import document_html
from llmi_env.report.page import write_document_page, write_report

__all__ = ["document_html", "write_document_page", "write_report"]
