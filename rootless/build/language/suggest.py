"""What somebody meant who typed something that doesn't exist."""

LONGEST = 40  # no keyword, flag or stage is meant by a longer word
_NEAR = 2  # edits: a letter forgotten, doubled, swapped


def closest(word, known):
    """The member of ``known`` that ``word`` was probably meant to be, or None.

    Without regard to case; at most two edits away and less than half of the word changed.
    """
    if len(word) > LONGEST:
        return None
    best, best_distance = None, _NEAR + 1
    for candidate in known:
        distance = _distance(word.lower(), candidate.lower())
        if distance < best_distance and distance * 2 < max(len(word), len(candidate)):
            best, best_distance = candidate, distance
    return best


def did_you_mean(word, known):
    """``did you mean X?`` as the start of a hint, or None."""
    found = closest(word, known)
    return f"did you mean {found}?" if found else None


def _distance(one, two):
    """The edits (insert, delete, replace, swap of neighbours) between two str."""
    if abs(len(one) - len(two)) > _NEAR:
        return _NEAR + 1
    before, row = None, list(range(len(two) + 1))
    for i, char in enumerate(one, 1):
        above, before_above = row, before
        row = [i]
        for j, other in enumerate(two, 1):
            cost = min(above[j] + 1, row[j - 1] + 1, above[j - 1] + (char != other))
            swapped = i > 1 and j > 1 and char == two[j - 2] and one[i - 2] == other
            if swapped:
                cost = min(cost, before_above[j - 2] + 1)
            row.append(cost)
        before = above
    return row[-1]
