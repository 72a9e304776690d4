"""EC2's filters: all names must match, any value of a name; `*` and `?` are wildcards, a backslash escapes them."""

import functools
import re


@functools.lru_cache(maxsize=2048)
def _pattern(value):
    out, position = [], 0
    while position < len(value):
        character = value[position]
        if character == "\\" and position + 1 < len(value):
            position += 1
            out.append(re.escape(value[position]))
        else:
            out.append({"*": ".*", "?": "."}.get(character, re.escape(character)))
        position += 1
    return re.compile("".join(out), re.DOTALL)


def text_matches(text, value):
    return _pattern(value).fullmatch(text) is not None


def matches(filters, values_of):
    """`filters` is {name: [values]}; `values_of(name)` gives the object's own values as a list of texts."""
    for name, wanted in filters.items():
        own = values_of(name)
        if not any(text_matches(text, value) for text in own for value in wanted):
            return False
    return True


def tag_values(name, tags):
    """The values of the tag filters (`tag:KEY`, `tag-key`, `tag-value`), or None for another filter."""
    if name.startswith("tag:"):
        return [tags[name[4:]]] if name[4:] in tags else []
    if name == "tag-key":
        return list(tags)
    if name == "tag-value":
        return list(tags.values())
    return None
