"""Several threads that take jobs from one queue until it is empty or one of them fails."""

import threading


class Workers:
    """``jobs`` are taken from the end of the list; ``cancelled`` is the error class that
    ``check`` raises in the others once one has failed."""

    def __init__(self, jobs, cancelled):
        self.queue = list(jobs)
        self.cancelled = cancelled
        self.lock = threading.Lock()
        self.stop = threading.Event()
        self.failure = None

    def run(self, hands, begin, end=None):
        """Do all jobs; raises the first failure.

        There is a thread for each of ``hands``, none if there is only one: ``begin(hand)``
        is called in it and gives the function to call with each job.  A hand has ``close``,
        and ``abort``, which is called from here and ends whatever it waits for.  ``end()``
        is called before the threads are waited for when something was raised here.
        """
        threads = [
            threading.Thread(target=self._work, args=(hand, begin), daemon=True)
            for hand in (hands if len(hands) > 1 else ())
        ]
        try:
            if len(hands) == 1:
                self._work(hands[0], begin)
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        finally:
            # Only Ctrl-C leaves a thread alive here: what it waits for is cut short.
            self.stop.set()
            for hand in hands:
                hand.abort()
            if end is not None:
                end()
            for thread in threads:
                if thread.ident is not None:
                    thread.join()
        if self.failure is not None:
            raise self.failure

    def check(self):
        """Raise if there is no sense in going on."""
        if self.stop.is_set():
            raise self.cancelled()

    def _work(self, hand, begin):
        try:
            work = begin(hand)
            while (job := self._next()) is not None:
                work(job)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            with self.lock:
                # The first failure is the cause; the others follow from it.
                if self.failure is None:
                    self.failure = error
            self.stop.set()
        finally:
            hand.close()

    def _next(self):
        with self.lock:
            if self.stop.is_set() or not self.queue:
                return None
            return self.queue.pop()
