"""Where rl's images differ from those of Debian's buildah, and why.

Each row: (cases or None for all, what of tree.facts, why). A row that explains nothing any
more fails the suite, so that the table stays true.
"""

TABLE = [
    (None, "label io.buildah.version", "buildah marks what it made; rl doesn't"),
]
