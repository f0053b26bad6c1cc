"""A page as its parts: ids, text, elements and addresses."""

from __future__ import annotations

from html.parser import HTMLParser

VOID_ELEMENTS = frozenset({"meta", "img", "br", "hr", "link", "input"})


class PageReader(HTMLParser):
    """Collects what a page holds, and checks that every element is closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.addresses: list[str] = []
        self.alternatives: list[str] = []
        self.tags: set[str] = set()
        self.text = ""
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        if tag not in VOID_ELEMENTS:
            self.open.append(tag)
        for name, value in attributes:
            if name == "id" and value:
                self.ids.append(value)
            if name == "alt":
                self.alternatives.append(value or "")
            if name in ("src", "href", "xlink:href") and value:
                self.addresses.append(value)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attributes)
        if tag not in VOID_ELEMENTS:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data
