"""The engine as a whole: what it is, what happened in it, what it takes, and cleaning up."""

from __future__ import annotations

from jubako.system.service import SystemService

__all__ = ["SystemService"]
