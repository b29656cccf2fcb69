"""Matrices whose inverse root is known, and a look at HTML."""

from html.parser import HTMLParser

import numpy as np

VOID = {"meta", "img", "source", "br", "link"}


def orthogonal(size, seed=0):
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(size, size)))[0]


def with_eigenvalues(values, seed=0):
    """A symmetric matrix that has these eigenvalues."""
    directions = orthogonal(len(values), seed)
    return directions @ np.diag(values) @ directions.T


def inverse_root(matrix):
    values, directions = np.linalg.eigh(matrix)
    return directions @ np.diag(values**-0.5) @ directions.T


def fading(size, correlation):
    """The correlation of pixels on a line, which fades with their distance."""
    place = np.arange(size)
    return correlation ** np.abs(place[:, None] - place)


class Page(HTMLParser):
    """Every element with its attributes, and whether all of them are closed in order."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.open, self.words = [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("style", "script"):
            self.words.append(data)

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())
