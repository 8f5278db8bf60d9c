"""Removing trees that hold files of mapped users, which only root of the namespace can."""

import os

from rootless.kernel import tree, userns


def remove(store, directory, name):
    """Remove ``name`` of the directory descriptor, whoever owns what is below.

    Tried as we are first: files of the user alone need no namespace.  OSError if even
    root of the namespace can't.
    """
    try:
        tree.remove_tree(directory, name)
    except PermissionError:
        userns.call_in(store.ids, _remove, directory, os.fsencode(name))


def _remove(directory, name):
    tree.remove_tree(directory, name)
