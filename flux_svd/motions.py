"""What the storyboard knows by heart: motions with their phases, moves of the camera, cycles of seasons and days. Data only.

A phase is a moment FLUX can draw, said after the prompt; it claims nothing that the motion's words do not imply.
"""

from __future__ import annotations

from dataclasses import dataclass

Phases = tuple[str, str, str, str, str]


@dataclass(frozen=True)
class Motion:
    """A motion the storyboard knows.

    Attributes:
        verbs: base forms; find them as "run", "runs" and "running".
        phases: from first to last.
        phrases: other words that show it, taken as they stand.
        unless: words of the prompt that take this meaning away ("falls asleep").
        takes_object: a bare noun may follow ("eating spaghetti").
    """

    name: str
    verbs: tuple[str, ...]
    phases: Phases
    phrases: tuple[str, ...] = ()
    unless: tuple[str, ...] = ()
    takes_object: bool = False

    @property
    def words(self) -> tuple[str, ...]:
        """Every form that shows the motion, the usual ones first."""
        return (*(ing_form(verb) for verb in self.verbs), *(s_form(verb) for verb in self.verbs), *self.phrases)


def words_of(text: str) -> frozenset[str]:
    """Return the words of a list written as one line of text."""
    return frozenset(text.split())


def ing_form(verb: str) -> str:
    """Return "running" for "run" and "diving" for "dive"; only for the verbs of this file."""
    if verb.endswith(("ee", "oe")) or verb in ("open", "wander", "travel", "blossom", "saunter"):
        return verb + "ing"
    if verb.endswith("e"):
        return verb[:-1] + "ing"
    short = len(verb) <= 5 and verb[-1] in "mnpgbt" and verb[-2] in "aeiou" and verb[-3] not in "aeiou"
    return (verb + verb[-1] if short else verb) + "ing"


def s_form(verb: str) -> str:
    """Return "runs" for "run", "flies" for "fly" and "launches" for "launch"."""
    if verb.endswith("y") and verb[-2] not in "aeiou":
        return verb[:-1] + "ies"
    return verb + ("es" if verb.endswith(("ch", "sh", "x", "s", "z", "o")) else "s")


_FLOWING = ("rain", "snow", "water", "night", "asleep", "in love", "silent", "apart", "dusk", "darkness", "curtain", "waterfall")
# Order is priority: a narrow meaning ("landing") stands before the wide one that may share its sentence ("flying").
MOTIONS: tuple[Motion, ...] = (
    Motion("landing", ("land",), ("high above, coming nearer", "coming down", "close above the ground", "touching down",
                                  "just landed"), unless=("moon landing",)),
    Motion("taking off", ("launch",), ("still on the ground", "starting", "just leaving the ground", "climbing",
                                       "high in the sky"),
           ("taking off", "takes off", "take off", "lifting off", "lifts off", "liftoff"), unless=("his", "her", "clothes")),
    Motion("flying", ("fly", "soar"), ("taking off", "climbing", "mid-flight", "descending", "landing"), unless=("time flies",)),
    Motion("jumping", ("jump", "leap", "hop"), ("about to jump", "rising into the jump", "at the top of the jump",
                                                "coming down", "just after the jump")),
    Motion("rain", (), ("the first drops", "light rain", "steady rain", "dense rain", "the last drops"),
           ("raining", "rain falling", "rain falls", "rain is falling"), unless=("heavy", "heavily", "pouring", "light rain")),
    Motion("snow", (), ("the first snowflakes", "light snowfall", "dense snowfall", "the ground turning white",
                        "everything covered in snow"),
           ("snowing", "snow falling", "snow falls", "snow is falling"), unless=("heavy", "heavily", "covered", "light snow")),
    Motion("sunset", (), ("in late afternoon light", "in golden light", "the sun on the horizon", "after sunset, red sky",
                          "at night under stars"),
           ("sunset", "sun sets", "sun setting", "dusk falls", "nightfall", "night falls", "night falling")),
    Motion("falling", ("fall", "tumble"), ("just starting to fall", "falling", "in mid-fall", "almost down",
                                                   "just landed below"), ("dropping",), unless=_FLOWING),
    Motion("running", ("run", "sprint", "gallop", "jog", "chase", "trot"),
           ("starting to run", "picking up speed", "at full stride", "at full speed", "slowing down"),
           unless=("tap", "river", "water", "nose")),
    Motion("walking", ("walk", "stroll", "hike", "march", "wander", "waddle", "sneak", "tiptoe", "limp", "saunter"),
           ("taking the first step", "walking", "in mid-stride", "walking on", "coming to a stop")),
    Motion("dancing", ("dance", "pirouette", "waltz"),
           ("at the start of the dance", "swaying to one side", "in a full turn", "swaying to the other side",
            "at the end of the dance")),
    Motion("swimming", ("swim", "surf", "snorkel"),
           ("at the start of the swim", "swimming", "gliding through the water", "swimming on", "at the end of the swim")),
    Motion("diving", ("dive",), ("about to dive", "starting the dive", "in the middle of the dive", "deep in the dive",
                                 "coming out of the dive")),
    Motion("driving", ("drive", "race", "ride", "cycle", "sail", "pedal", "row"),
           ("setting off", "gaining speed", "at full speed", "slowing down", "arriving"), unless=("against time", "sun rides")),
    Motion("blooming", ("bloom", "blossom"),
           ("as a closed bud", "starting to open", "half open", "almost fully open", "in full bloom"),
           ("opening petals", "opening its petals", "opens its petals"), unless=("fully", "closed", "full bloom")),
    Motion("growing", ("grow", "sprout"), ("as a small sprout", "still small", "half grown", "almost full grown", "full grown"),
           unless=("old", "bigger", "darker", "crowd", "storm", "shadow", "tension", "fully")),
    Motion("melting", ("melt", "thaw"), ("still frozen", "starting to melt", "half melted", "almost melted", "melted away")),
    Motion("burning", ("burn", "ignite"), ("just lit", "a small flame", "burning brightly", "the flame dying down",
                                           "just gone out, a wisp of smoke"), unless=("sun", "sunburn", "calories", "embers")),
    Motion("sunrise", (), ("before dawn, dark blue sky", "first light on the horizon", "the sun on the horizon",
                           "the sun above the horizon", "in bright morning light"),
           ("sunrise", "sun rises", "sun rising", "dawn breaks", "dawn breaking")),
    Motion("rising", ("rise", "ascend"), ("low down", "starting to rise", "halfway up", "higher", "high up"),
           ("floating upward", "floating upwards", "floats upward", "floats upwards"),
           unless=("steam", "smoke", "mist", "dough", "bread", "tension", "moon", "building", "tower", "mountain", "cliff")),
    Motion("climbing", ("climb",), ("at the foot of the climb", "starting to climb", "halfway up", "near the top", "at the top"),
           ("scaling a", "scaling the", "scales a", "scales the"), unless=("ivy", "rose", "roses", "stairs to")),
    Motion("exploding", ("explode", "erupt"), ("just before it bursts", "the first flash", "bursting wide", "sparks spreading",
                                               "smoke fading away"), ("fireworks", "bursting into flames")),
    Motion("eating", ("eat",), ("looking at the food", "reaching for it", "taking a bite", "chewing", "finished, content"),
           takes_object=True),
    Motion("drinking", ("drink", "sip"), ("about to drink", "raising the drink", "taking a sip", "lowering the drink",
                                          "finished, content"), takes_object=True),
    Motion("waving", ("wave", "greet"), ("arm at the side", "raising an arm", "arm raised, waving", "waving",
                                         "lowering the arm"),
           unless=("flag", "grass", "wheat", "sea", "corn", "curtain", "banner", "palm", "branches", "hair", "flags", "seaweed")),
    Motion("turning", ("spin", "twirl", "rotate", "whirl", "revolve"),
           ("at the start of the turn", "a quarter turned", "half turned", "three quarters turned", "at the end of the turn")),
    Motion("turning", ("turn",), ("facing the viewer", "turned slightly", "turned to the side", "turned further away",
                                  "turned away"), unless=("page", "corner", "left into", "right into", "key", "wheel")),
    Motion("opening", ("open", "unfold"), ("closed", "slightly open", "half open", "almost open", "wide open"),
           unless=("opens at", "opening at", "opening hours", "open at", "wide open", "half open", "being")),
    Motion("closing", ("close", "shut"), ("wide open", "almost open", "half open", "slightly open", "closed"),
           unless=("closes at", "closing in", "closing at")),
    Motion("floating", ("float",), ("floating level", "tilting a little", "drifting slightly", "tilting the other way",
                                    "floating level again")),
    Motion("moving", ("move", "travel", "drift", "roll", "cross", "crawl", "creep", "slither", "glide", "rush",
                      "follow", "skate", "slide", "pass", "ski"),
           ("at the start of the way", "on the way", "halfway along", "further along", "at the end of the way"),
           unless=("water lily", "water lilies", "eyes rolling")),
)
DEFAULT_PHASES: Phases = (
    "in the first moment", "a little later", "in the middle of the scene", "near the end", "in the last moment",
)  # fmt: skip

_NEARER: Phases = ("seen from far away", "seen from further away", "seen from a middle distance", "seen close", "seen very close")
_LEFTWARD: Phases = ("view of the right end", "view towards the right", "view of the middle", "view towards the left",
                     "view of the left end")
_UPWARD: Phases = ("view of the lower part", "view from the lower part up", "view of the middle", "view towards the upper part",
                   "view of the upper part")
_HIGHER: Phases = ("seen at eye level", "seen from slightly above", "seen from above", "seen from high above",
                   "bird's-eye view from far above")
_AROUND: Phases = ("seen from the front", "seen from the front side", "seen from the side", "seen from the back side",
                   "seen from behind")
_ALONG: Phases = ("at the near end", "a little further along", "halfway along", "far along", "at the far end")


def _back(phases: Phases) -> Phases:
    one, two, three, four, five = phases
    return five, four, three, two, one


_CAMERA = r"(?:(?:the |a )?(?:camera|drone|view|lens)(?: is)? )"
_SLOW = r"(?:(?:slow|slowly|gentle|gently|smooth|smoothly|quick|quickly|long|gradually|steady)\s+)*"
_ON = (
    r"(?:\s+(?:slowly|gently|smoothly))?(?:\s+(?:on\s*to|onto|on|of|from|towards?|to|into|across|over|around|above|through|past|"
    r"along))?\b"
)
_RIGHT, _LEFT = r"(?:to the )?right", r"(?:to the )?left"
# (name, what says it, phases); what says it is taken out of the prompt, since a picture of one moment does not zoom.
CAMERA_MOVES: tuple[tuple[str, str, Phases], ...] = (
    (
        "zoom in",
        rf"{_CAMERA}?{_SLOW}(?:zoom(?:s|ing)?|push(?:es|ing)?|dolly|dollies|moves?|moving)[ -]in\b{_ON}|{_CAMERA}closes in{_ON}",
        _NEARER,
    ),
    (
        "zoom out",
        rf"{_CAMERA}?{_SLOW}(?:zoom(?:s|ing)?|dolly|dollies|moves?|moving)[ -]out\b{_ON}|"
        rf"{_CAMERA}?{_SLOW}pull(?:s|ing)?[ -](?:back|out)\b{_ON}",
        _back(_NEARER),
    ),
    (
        "pan left",
        rf"{_CAMERA}{_SLOW}pan(?:s|ning)? {_LEFT}{_ON}|\b{_SLOW}panning {_LEFT}{_ON}|^(?:slow )?pan {_LEFT}{_ON}",
        _LEFTWARD,
    ),
    (
        "pan up",
        rf"{_CAMERA}?\b{_SLOW}tilt(?:s|ing)?[ -]up(?:wards?)?(?: shot)?{_ON}|{_CAMERA}{_SLOW}(?:pans?|panning) up{_ON}",
        _UPWARD,
    ),
    (
        "pan down",
        rf"{_CAMERA}?\b{_SLOW}tilt(?:s|ing)?[ -]down(?:wards?)?(?: shot)?{_ON}|{_CAMERA}{_SLOW}(?:pans?|panning) down{_ON}",
        _back(_UPWARD),
    ),
    (
        "pan right",
        rf"{_CAMERA}{_SLOW}pan(?:s|ning)?(?: {_RIGHT})?{_ON}|\b{_SLOW}panning(?: shot)?(?: {_RIGHT})?{_ON}|"
        rf"^(?:slow )?pan (?:{_RIGHT}|across|over|of){_ON}|\bslow pan{_ON}",
        _back(_LEFTWARD),
    ),
    (
        "orbit",
        rf"{_CAMERA}?{_SLOW}(?:orbit(?:s|ing)?|orbital|arc)(?: shot)?(?: around| of|\b)|"
        rf"{_CAMERA}{_SLOW}(?:circles?|circling|rotates?|rotating|turns?|turning|moves?|moving|flies|goes)(?: all)? around\b|"
        r"\b360[ -]?(?:degrees?|°)?(?: (?:turn|view|shot|orbit|spin|rotation))?(?: around| of|\b)|"
        r"\bbullet[ -]time(?: shot)?(?: around| of)?",
        _AROUND,
    ),
    (
        "rise",
        rf"\bcrane shot(?: rising| going up)?{_ON}|{_CAMERA}{_SLOW}(?:rises|rising|ascends|ascending|lifts|moves up){_ON}|"
        rf"\brising (?:aerial|drone|crane) shot{_ON}",
        _HIGHER,
    ),
    ("descend", rf"{_CAMERA}{_SLOW}(?:descends|descending|lowers|sinks|moves down){_ON}", _back(_HIGHER)),
    (
        "move along",
        rf"\b(?:tracking|dolly|travelling|traveling|follow|steadicam|pov|fly-?through) shot{_ON}|"
        rf"{_CAMERA}{_SLOW}(?:moves?|moving|travels?|glides?|gliding|tracks?|tracking|follows|following|flies|flying)"
        rf"(?: forward| ahead| along| past)?{_ON}",
        _ALONG,
    ),
)
SHOT_SIZES = r"\b(?:an? )?(?:extreme |medium )?(?:close[ -]?up|wide shot|long shot)(?: shot)?(?: of)?\b,?"

# What lies between two states of the same kind, in the order of nature.
CYCLES: tuple[tuple[str, ...], ...] = (
    ("winter", "spring", "summer", "autumn"),
    ("night", "dawn", "morning", "noon", "afternoon", "dusk"),
    ("midnight", "sunrise", "midday", "sunset"),
    ("childhood", "youth", "middle age", "old age"),
)
SAME_STATE = {"fall": "autumn", "evening": "dusk", "daytime": "noon", "nighttime": "night"}
COLOURS = words_of(
    "red green blue yellow orange purple violet pink brown black white grey gray gold golden silver turquoise crimson"
)
STATES = COLOURS | words_of(
    "smiling crying laughing sad happy angry calm young old empty full open closed wet dry new ruined sketch photograph sunny "
    "stormy cloudy clear light dark bright dim awake asleep frozen liquid clean dirty alive dead green ripe rotten raw cooked "
    "smooth rough day"
)
# Enough to tell "a running dog" (it moves) from "a running shoe" (it does not).
MOVERS = words_of(
    "man woman boy girl child children people person men women baby toddler dancer runner dog cat horse bird eagle owl gull swan "
    "fox wolf bear lion tiger elephant rabbit deer fish shark whale dolphin penguin monkey frog butterfly bee dragon knight "
    "robot astronaut samurai wizard unicorn soldier dogs cats horses birds eagles gulls fishes sharks whales dolphins penguins "
    "dancers runners plane aeroplane airplane helicopter rocket train car bus ship boat drone kite balloon skater skier surfer "
    "cyclist couple crowd puppy kitten puppies kittens cheetah leopard zebra bull cow goat sheep pig mouse rat squirrel"
)
