"""An overview: one HTML file with a card for each picture, from which the pages of explanations are opened."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from PIL import Image

from sparsevision.errors import ConfigError
from sparsevision.files import replacing

from .explanation import reduced
from .page import as_text, data_uri, document, filled, shell_file

_LONGEST = 720  # pixels of an embedded image


@dataclass(frozen=True, kw_only=True)
class Card:
    """A picture with its result drawn in, what it shows, what the model said, and where its page lies.

    `page` is a path relative to the overview; the `animation` is a GIF, shown beside the picture.
    """

    image: Image.Image
    title: str
    model: str
    result: str
    page: str
    animation: Path | None = None


def save_overview(cards: Sequence[Card], path: Path, *, title: str) -> Path:
    """Writes the page, which holds pictures and animations itself. Raises ConfigError without a card."""
    if not cards:
        raise ConfigError("An overview needs at least one card; received none.")
    body = filled("overview.html", {"title": html.escape(title), "cards": "".join(map(_card, cards))})
    with replacing(path) as part:
        part.write_text(document(title, body, shell_file("overview.css")), encoding="utf-8")
    return path


def _card(card: Card) -> str:
    title, model, result = (html.escape(text) for text in (card.title, card.model, card.result))
    pictures = [(data_uri(reduced(card.image, _LONGEST), quality=88), "The photograph with the result")]
    if card.animation is not None:
        pictures.append(("data:image/gif;base64," + as_text(card.animation.read_bytes()), "Animation of the same"))
    shown = "".join(f'<img src="{source}" alt="{alt}">' for source, alt in pictures)
    return (
        f'<article><div class="pictures">{shown}</div><h2>{title}</h2><p class="result">{result}</p>'
        f'<p class="model">{model} · <a href="{quote(card.page)}">where it looked, step by step</a></p></article>\n'
    )
