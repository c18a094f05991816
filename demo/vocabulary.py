"""The classes of the demo set: what is shown (nouns), how it moves (verbs), which pairs exist.

Data in: nothing. Data out: `VERBS`, `NOUNS` and `ACTIONS`, whose positions are the class ids of
every annotation file.
"""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Verb:
    """A way in which the picture moves."""

    key: str
    """Class name; hyphens inside, so that `verb_noun` splits at the underscore."""
    imperative: str
    """Sentence pattern without a subject, the noun at `{}`."""
    third_person: str
    """The same pattern after "#C C"."""
    scene: str
    """A sentence about any picture that moves so; the text of a highlight query."""
    typical_seconds: float
    """Middle of the durations that occur; a multiple of 0.2."""
    category: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Noun:
    """A photograph that scikit-image ships."""

    key: str
    photograph: str
    """Name of the function in `skimage.data`."""
    routine: tuple[str, ...]
    """Keys of the verbs it usually goes through, in this order."""
    category: str


@dataclass(frozen=True, order=True, slots=True)
class Action:
    """One verb done to one noun."""

    noun: str
    verb: str

    @property
    def name(self) -> str:
        """Return the class name used where an action is one label, such as `zoom-in_cat`."""
        return f"{self.verb}_{self.noun}"


VERBS = (
    Verb(
        key="hold",
        imperative="hold the {} still",
        third_person="holds the {} still",
        scene="The picture stands still.",
        typical_seconds=1.4,
        category="rest",
    ),
    Verb(
        key="zoom-in",
        imperative="zoom into the {}",
        third_person="zooms into the {}",
        scene="The picture grows larger.",
        typical_seconds=1.6,
        category="size",
    ),
    Verb(
        key="zoom-out",
        imperative="zoom out of the {}",
        third_person="zooms out of the {}",
        scene="The picture grows smaller.",
        typical_seconds=1.6,
        category="size",
    ),
    Verb(
        key="slide-left",
        imperative="slide the {} to the left",
        third_person="slides the {} to the left",
        scene="The picture slides to the left.",
        typical_seconds=1.2,
        category="place",
    ),
    Verb(
        key="slide-right",
        imperative="slide the {} to the right",
        third_person="slides the {} to the right",
        scene="The picture slides to the right.",
        typical_seconds=1.2,
        category="place",
    ),
    Verb(
        key="rotate",
        imperative="rotate the {}",
        third_person="rotates the {}",
        scene="The picture turns around.",
        typical_seconds=1.8,
        category="place",
    ),
    Verb(
        key="shake",
        imperative="shake the {}",
        third_person="shakes the {}",
        scene="The picture shakes.",
        typical_seconds=1.2,
        category="place",
    ),
    Verb(
        key="fade-in",
        imperative="fade in the {}",
        third_person="fades in the {}",
        scene="The picture appears out of the dark.",
        typical_seconds=1.4,
        category="light",
    ),
    Verb(
        key="fade-out",
        imperative="fade out the {}",
        third_person="fades out the {}",
        scene="The picture gets dark.",
        typical_seconds=1.4,
        category="light",
    ),
    Verb(
        key="flash",
        imperative="flash the {}",
        third_person="flashes the {}",
        scene="The picture flashes.",
        typical_seconds=1.2,
        category="light",
    ),
)

NOUNS = (
    Noun(
        key="astronaut",
        photograph="astronaut",
        routine=("fade-in", "zoom-in", "hold"),
        category="people",
    ),
    Noun(
        key="coffee",
        photograph="coffee",
        routine=("slide-left", "zoom-in", "shake"),
        category="things",
    ),
    Noun(
        key="cat",
        photograph="chelsea",
        routine=("zoom-in", "shake", "fade-out"),
        category="animals",
    ),
    Noun(
        key="motorcycle",
        photograph="stereo_motorcycle",
        routine=("slide-right", "hold", "zoom-in"),
        category="things",
    ),
    Noun(
        key="rocket",
        photograph="rocket",
        routine=("fade-in", "shake", "zoom-out"),
        category="things",
    ),
    Noun(
        key="moon",
        photograph="moon",
        routine=("hold", "slide-left", "fade-out"),
        category="sky",
    ),
    Noun(
        key="photographer",
        photograph="camera",
        routine=("slide-right", "hold", "flash"),
        category="people",
    ),
    Noun(
        key="galaxy",
        photograph="hubble_deep_field",
        routine=("fade-in", "rotate", "zoom-out"),
        category="sky",
    ),
    Noun(
        key="retina",
        photograph="retina",
        routine=("rotate", "zoom-in", "flash"),
        category="medicine",
    ),
    Noun(
        key="tissue",
        photograph="immunohistochemistry",
        routine=("slide-right", "zoom-in", "hold"),
        category="medicine",
    ),
    Noun(
        key="coins",
        photograph="coins",
        routine=("shake", "rotate", "zoom-out"),
        category="things",
    ),
    Noun(
        key="page",
        photograph="page",
        routine=("slide-left", "shake", "fade-out"),
        category="things",
    ),
)

ACTIONS = tuple(Action(noun.key, verb) for noun in NOUNS for verb in noun.routine)

VERB_OF_KEY = {verb.key: verb for verb in VERBS}
NOUN_OF_KEY = {noun.key: noun for noun in NOUNS}
VERB_ID = {verb.key: index for index, verb in enumerate(VERBS)}
NOUN_ID = {noun.key: index for index, noun in enumerate(NOUNS)}
ACTION_ID = {action: index for index, action in enumerate(ACTIONS)}
