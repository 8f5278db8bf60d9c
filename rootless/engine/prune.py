"""Removing what nothing uses: containers that ended, and what else `system prune` takes."""

from rootless.engine import filters as reader
from rootless.engine import listing, records
from rootless.engine.remove import Busy, StillRunning, check_needed, in_order, remove, sweep
from rootless.errors import RlError

_OVER = ("created", "stopping", "exited", "lost")
FILTERS = ("label", "label!", "until", "since", "before", "name", "status")


def containers(engine, filters=(), damaged=False):
    """Remove the containers that are not running and pass the --filter texts (FILTERS).

    A list of (id, error or None).  ``damaged``: those whose record can't be read too.  What
    interrupted removals left goes in any case.
    """
    reader.parse(filters, FILTERS)
    states = (*_OVER, "damaged") if damaged else _OVER
    rows = listing.rows(engine, records.everything(engine), filters)
    done = []
    chosen = [row["record"] for row in rows if row["State"] in states]
    for record in in_order([one for one in chosen if not one.get("newer")]):
        try:
            check_needed(engine, record)
            remove(engine, record)
            done.append((record["id"], None))
        except (StillRunning, Busy, records.NoContainer):
            continue  # somebody else just started it, or removes it
        except RlError as error:
            done.append((record["id"], error))
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
