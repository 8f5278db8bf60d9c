"""What was measured, as a table with ratios, targets and a verdict."""

import measure


class Table:
    """Rows as they are measured; printed one by one."""

    def __init__(self):
        self.missed = []
        self.failed = []
        print(f"{'':34} {'rl':>11} {'peer':>11} {'':8} {'ratio':>6} {'best':>6}  target")

    def row(self, what, value, peer_value, peer="podman", target=None, aim=None, unit="ms",
            best=None):
        """One comparison; a target is the greatest ratio, an aim what we would like;
        ``best`` is the ratio of the shortest times, which neighbours disturb least."""
        ratio = value / peer_value
        verdict = ""
        if target is not None:
            met = ratio <= target
            verdict = f"<= {target:g} " + ("met" if met else "MISSED")
            if aim is not None:
                verdict += f", aim {aim:g}" + (" met" if ratio <= aim else "")
            if not met:
                self.missed.append(what)
        mine, other = f"{value:,.1f} {unit}", f"{peer_value:,.1f} {unit}"
        least = "" if best is None else f"{best:.2f}"
        print(f"{what:34} {mine:>11} {other:>11} {peer:8} {ratio:6.2f} {least:>6}  {verdict}",
              flush=True)

    def times(self, what, own, others, peer="podman", **how):
        """One comparison of two lists of seconds by their medians."""
        best = min(own) / min(others)
        self.row(what, measure.median(own), measure.median(others), peer, best=best, **how)

    def failure(self, what, why):
        """A measurement that could not be made."""
        self.failed.append(what)
        print(f"{what:34} FAILED: {why}", flush=True)
