"""Which motion the words of a prompt say of their subject. A few rules of English word order; no model, no dictionary.

"A dog running" runs, "a running shoe" does not; "a leaf falls" falls, "the falls of Iguazu" do not. In doubt it is no
motion: a scene of moments is never wrong, a stage that contradicts its prompt is.
"""

from __future__ import annotations

import functools
import re

from flux_svd.motions import COLOURS, MOTIONS, MOVERS, Motion, ing_form, s_form, words_of

_SINGULAR = words_of("a an the this that one her his its my your our their each every another")
_DETERMINERS = _SINGULAR | words_of("no some many several two three four five six seven eight nine ten these those both")
_PREPOSITIONS = words_of(
    "of in on at by for with without from to into onto over under above below behind beside between through across along around "
    "near after before during until against inside outside about than as off up down past towards toward"
)
_ADJECTIVES = COLOURS | words_of(
    "big small little large huge tiny old young new tall long short dark bright light great wild lone single beautiful soft hard "
    "heavy deep full last first wooden golden ancient empty frozen slow fast vintage broken quiet loud open closed epic"
)
_LINKS = words_of("and or but while when as then is are was were be being keeps starts begins")
_AFTER_ING = _DETERMINERS | _PREPOSITIONS | _LINKS | words_of(
    "it them him itself himself herself themselves alone together fast high low home south north east west away side barefoot "
    "free upward upwards downward downwards apart forward forwards backward backwards back freely wildly towards out near"
)
_PRONOUNS = words_of("he she it who which that")
_PLURALS = words_of("people children men women geese mice they we who that sheep deer fish")
_NEGATIONS = words_of(
    "not never no without stops stop stopped stopping isn't doesn't don't aren't nobody nothing before after used "
    "motionless"
)
# The prompt names the moment itself: other moments would contradict it.
_ONE_MOMENT = re.compile(
    r"\b(?:already|motionless|freeze[- ]frame|frozen (?:in )?(?:a )?(?:moment|time|motion|mid)|at the (?:height|peak|moment)|"
    r"(?:in )?mid[- ](?:flight|air|jump|leap|stride|step|turn|fall|motion|swing|stroke|bite|dance|run|spin)|"
    r"just (?:before|after)|about to|"
    r"(?:paintings?|statues?|sculptures?|figurines?|drawings?|murals?|mosaics?|tapestry|engravings?|emblems?|icons?) of|"
    r"embroidered|carved|engraved|stuffed|taxidermy|pinned)\b"
)
_AS_LIGHT = words_of("at before after during until by near towards")
_LIGHTS = words_of("sunset sunrise")


def find_motions(prompt: str) -> tuple[Motion, ...]:
    """Return the motions the prompt says of its subject, in its own order; () where there is none, or in doubt."""
    text = prompt.lower().replace("’", "'")
    if _ONE_MOMENT.search(text):
        return ()
    words = re.findall(r"\w+(?:['-]\w+)*|[.,;:!?()]", text)
    found: dict[int, Motion] = {}
    for _ in range(2):  # the second time, what a first verb makes likely is seen: "jumps and then runs"
        for motion in reversed(MOTIONS):  # a narrow meaning overwrites a wide one at the same place
            if not any(re.search(rf"\b{re.escape(no)}\b", text) for no in motion.unless):
                found |= dict.fromkeys(_places_of(motion, words, found), motion)
    return tuple(found[at] for at in sorted(found))


def _places_of(motion: Motion, words: list[str], found: dict[int, Motion]) -> list[int]:
    places = []
    for phrase in motion.phrases:
        parts = phrase.split()
        for at in range(len(words)):
            light = phrase in _LIGHTS and at and words[at - 1] in _AS_LIGHT
            if words[at : at + len(parts)] == parts and not light and not _is_denied(words, at):
                places.append(at)
    forms = _forms(motion)
    for at, word in enumerate(words):
        form = forms.get(word)
        if form == "ing" and at and words[at - 1] == "before" and any(other < at for other in found):
            places.append(at)  # "flies in circles before landing"
        elif form and not _is_denied(words, at) and _is_said(words, at, form, motion.takes_object, found):
            places.append(at)
    return places


@functools.lru_cache(maxsize=64)
def _forms(motion: Motion) -> dict[str, str]:
    forms: dict[str, str] = {}
    for verb in motion.verbs:
        forms |= {verb: "base", s_form(verb): "s", ing_form(verb): "ing"}
    return forms


def _is_said(words: list[str], at: int, form: str, takes_object: bool, found: dict[int, Motion]) -> bool:
    before = words[at - 1] if at else ""
    after = words[at + 1] if at + 1 < len(words) else ""
    if form == "ing":
        return _ing_is_said(before, after, takes_object)
    if after == "of":
        return False
    follows_verb = before in ("and", "then", ",") and any(other < at for other in found)
    if form == "s":
        return before in _PRONOUNS or follows_verb or _has_singular_subject(words, at)
    return before in _PLURALS or (len(before) > 3 and before.endswith("s") and not before.endswith(("ss", "'s", "us")))


def _ing_is_said(before: str, after: str, takes_object: bool) -> bool:
    ends = not after[:1].isalpha()
    goes_on = ends or after in _AFTER_ING or after.endswith("ly") or takes_object
    if before in _PREPOSITIONS and before != "down":
        return False  # "of running", "for walking"
    if before in _DETERMINERS | _ADJECTIVES:
        return after in MOVERS
    if not before or not before[0].isalnum():
        return after in MOVERS or (goes_on and not ends)
    return goes_on


def _has_singular_subject(words: list[str], at: int) -> bool:
    """Return whether "a … noun" stands right before: "the red leaf falls", but not "the falls" or "the white sails"."""
    start = at
    while start and words[start - 1] not in _DETERMINERS | _PREPOSITIONS | _LINKS and words[start - 1][0].isalnum():
        start -= 1
    between = words[start:at]
    if not start or words[start - 1] not in _SINGULAR or any(word.endswith("s") for word in between):
        return False  # "a girl holds drinks": that place is taken by another verb
    if any(word.endswith("ing") for word in between[1:]):
        return False  # "a girl wearing dives"; but "a flowing dress" may be a subject
    return any(word not in _ADJECTIVES for word in between)


def _is_denied(words: list[str], at: int) -> bool:
    return any(word in _NEGATIONS for word in words[max(0, at - 2) : at])
