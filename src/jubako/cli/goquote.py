"""The old place of `jubako.golang.quote`, until nobody imports it from here."""

from __future__ import annotations

from jubako.golang.quote import quote, quote_rune

__all__ = ["quote", "quote_rune"]
