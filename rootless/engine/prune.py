"""Removing what nothing uses: containers that ended, and what else `system prune` takes."""

from rootless.engine import filters as reader
from rootless.engine import listing, records
from rootless.engine.remove import check_needed, in_order, remove, sweep
from rootless.errors import RlError

_OVER = ("created", "exited", "lost")
_FILTERS = ("label", "label!", "until")


def containers(engine, filters=()):
    """Remove the containers that are not running and pass the --filter texts.

    A list of (id, error or None).  What interrupted removals left goes too.
    """
    pairs = reader.parse(filters, _FILTERS)
    done = []
    for row in listing.rows(engine, in_order(records.everything(engine))):
        if row["State"] not in _OVER or not wanted(row["Labels"], row["Created"], pairs):
            continue
        try:
            check_needed(engine, row["record"])
            remove(engine, row["record"])
            done.append((row["Id"], None))
        except (RlError, OSError) as error:
            done.append((row["Id"], error))
    sweep(engine)
    return done


def wanted(labels, created, pairs):
    """Whether something with these labels, made at ``created`` (seconds), is to be pruned.

    ``pairs`` are (key, value) of the filters label, label! and until; all must hold.
    """
    for key, value in pairs:
        if key == "until":
            fits = created < reader.moment(value)
        else:
            fits = reader.has_label(labels, value) == (key == "label")
        if not fits:
            return False
    return True
