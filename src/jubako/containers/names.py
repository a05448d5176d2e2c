"""Names for containers that were not given one: an adjective and a dish of the lunch box."""

from __future__ import annotations

import os

_ADJECTIVES = (
    "amber autumn bold brave brisk calm candid careful cheerful clear clever cosy crisp curious "
    "daring eager early elegant fair festive fluffy fresh frosty gentle glad golden grand happy "
    "hearty honest humble jolly keen kind lively lucky lunar mellow merry mild modest neat nimble "
    "noble patient plain playful polite proud quick quiet rapid ready rosy rustic savory serene "
    "shiny silent simple sincere sleek smoky smooth snug solid spicy steady still subtle sunny "
    "sweet swift tangy tender tidy tiny tranquil upbeat vivid warm wise witty young zesty"
).split()
_DISHES = (
    "anago anko azuki chawan daifuku daikon dango dashi datemaki edamame enoki furikake gari "
    "goma gyoza hijiki inari kabocha kaki kamaboko karaage katsu kinpira kombu korokke kuri "
    "kuromame maki matcha mentaiko mirin miso mitarashi mizuna mochi nasu natto negi nigiri "
    "nishime nori oden okara onigiri oshinko ponzu ramen renkon sakura sanma sashimi satoimo "
    "sencha shiso shoyu soba somen sudachi sukiyaki sushi tamago tazukuri tempura teriyaki tofu "
    "tonkatsu udon umeboshi unagi wakame wasabi yakitori yokan yuba yuzu zenzai"
).split()


def generate(attempt: int = 0) -> str:
    """A random name such as `crisp_tempura`; later attempts get a digit to escape collisions."""
    first, second, digit = os.urandom(3)
    name = f"{_ADJECTIVES[first % len(_ADJECTIVES)]}_{_DISHES[second % len(_DISHES)]}"
    return name if attempt < 3 else f"{name}{digit}"
