"""HTML read by a parser of the standard library, which knows nothing of our templates."""

from html.parser import HTMLParser

VOID = {"meta", "input", "img", "br", "hr", "source"}
ENDS_A_WORD = {"p", "td", "th", "li", "dt", "dd", "div", "h1", "h2", "h3", "h4", "h5", "summary", "caption"}


class Reader(HTMLParser):
    """Elements with their attributes, what is said, and whether every element is closed in its turn."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.elements, self.text, self.open = [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, tag
        if tag in ENDS_A_WORD:
            self.text.append(" ")

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.text.append(data)

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def said(self):
        return "".join(self.text)
