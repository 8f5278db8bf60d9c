"""The verb build: an image for each platform asked for; then where the result goes.

Whose steps are all in the cache is done in some 50 ms: what lists, outputs, registries and
caches elsewhere need is imported where one of them was asked for.
"""

import os

from rootless.build.language import lint
from rootless.engine import events, images
from rootless.engine.build import annotating, entitlements, outputs
from rootless.engine.build import build as builder
from rootless.errors import RlError
from rootless.kernel import files
from rootless.model import jsontext, oci, reference


class Findings(RlError):
    """the Containerfile has mistakes of the kinds {rules}, and says that these are errors"""

    hint = "rl build --check shows them; the line '# check=error=true' made them errors"


class NeedsName(RlError):
    """which image is to be pushed? The build has no name"""

    hint = "rl build -t REGISTRY/NAME[:TAG] --push"


class NeedsList(RlError):
    """several platforms need a name for the manifest list of their images"""

    hint = "add --tag NAME or --manifest LIST, or an --output that takes several"


def build(engine, options, progress):
    """Build what ``options`` (engine.build.options.Options) ask for: lines (str) to print.

    ``progress``: as build.solve.progress.Silent, with ``platform(text)``.  Raises RlError.
    """
    wanted = outputs.read(options.output, os.isatty(1))
    for path in (options.iidfile, options.metadata_file):
        if path:
            outputs.check_writable(path)
    entitlements.check_options(options)
    taking = leaving = ()
    if options.cache_from or options.cache_to:
        from rootless.engine.build import remote_cache

        taking = remote_cache.places(options.cache_from, "--cache-from")
        leaving = remote_cache.places(options.cache_to, "--cache-to")
    notes = annotating.read([*options.annotation, *(a for o in wanted for a in o.annotations)])
    try:
        with builder.Build(engine, options, progress) as one:
            _warn(one, progress)
            if taking:
                one.fetch = remote_cache.Remote(engine, options, taking, progress)
            if leaving and remote_cache.has_inline(leaving):
                one.more = lambda built: remote_cache.inline(built, one.times.epoch)
            delivery = _Delivery(engine, options, progress, one, wanted, notes)
            lines = delivery.run()
            if leaving:
                remote_cache.leave(engine, options, leaving, delivery.builds, progress)
    finally:
        engine.store.tmp.release()
    if leaving or delivery.passing:
        from rootless.engine import images_change

        images_change.sweep(engine)  # documents of what was there for the way only
    return lines


def _warn(one, progress):
    document = one.inputs.document
    found = lint.check(document, one.file, ignore=one.inputs.context.ignore)
    if found and lint.options(document).error:
        raise Findings(rules=", ".join(sorted({warning.rule for warning in found})))
    for warning in found:
        progress.warning(f"{warning.rule}: {warning.text}", warning.line)


def check(engine, options):
    """The texts of what looks wrong in the Containerfile, a list."""
    return builder.check(engine, options)


class _Delivery:
    """One build on its way: ``builds`` are its results, ``record`` the image's or list's."""

    def __init__(self, engine, options, progress, one, wanted, notes):
        self.engine = engine
        self.store = engine.store
        self.options = options
        self.progress = progress
        self.one = one
        self.wanted = wanted
        self.notes = notes
        self.names = builder.names_of(options)
        self.builds = []
        self.several = False
        self.record = None
        self.pushed = None
        self.passing = False  # something was made in the store that nothing needs any more

    def run(self):
        options, wanted = self.options, self.wanted
        platforms = self.one.platforms()
        self.several = len(platforms) > 1
        self._check_platforms()
        targets = [self._targets(o) for o in wanted]
        extra = [str(reference.for_local(name)) for o in wanted if o.keeps_image
                 and not o.flags.get("push-by-digest") for name in o.names]  # fmt: skip
        self.names = list(dict.fromkeys([*self.names, *extra]))
        for platform in platforms:
            if self.several:
                self.progress.platform(str(platform))
            self.builds.append(self.one.solve(platform))
        keep = bool(self.names or options.manifest or options.iidfile or not wanted
                    or any(o.keeps_image for o in wanted))  # fmt: skip
        if keep or any(o.wants_image for o in wanted):
            self._make(keep)
        try:
            for output, names in zip(wanted, targets, strict=True):
                self._deliver(output, names)
        finally:
            if not keep and self.record is not None:
                self._forget()
        self._tell()
        return self._lines() if keep and not outputs.uses_stdout(wanted) else []

    def _check_platforms(self):
        if not self.several:
            return
        for output in self.wanted:
            if output.kind in ("tar", "docker"):
                raise outputs.OnePlatform(kind=output.kind, count="several")
        named = self.names or self.options.manifest
        if not named and not any(o.names or o.kind in ("local", "oci", "cacheonly")
                                 for o in self.wanted):  # fmt: skip
            raise NeedsList()

    def _targets(self, output):
        """The complete References that an output is pushed to."""
        if not output.pushes:
            return []
        names = output.names or self.names
        if not names:
            raise NeedsName()
        found = [reference.normalise(name) for name in names]
        for one in found:
            if one.domain == reference.LOCALHOST:
                from rootless.engine.images_push import NoDestination

                raise NoDestination(name=one)
        if output.flags.get("push-by-digest"):
            found = [reference.Reference(one.domain, one.path) for one in found]
        return found

    # --- images and lists ---

    def _make(self, keep):
        """The images of the builds as records, and the list of several."""
        known = {record["id"] for record in self.store.images.list()} if not keep else ()
        for built in self.builds:
            self.one.options = self.options.copy(
                annotation=self.notes.of_image(built.platform, self.several)
            )
            built.record = self.one.add(built, () if self.several else self.names)
        self.made = [b.record["id"] for b in self.builds if b.record["id"] not in known]
        self.record = self.builds[0].record
        if self.options.manifest:
            self._add_to(self.options.manifest)
        if self.several:
            self._make_list()

    def _entries(self):
        from rootless.engine import manifests

        return [manifests.of_record(self.engine, built.record) for built in self.builds]

    def _add_to(self, name):
        from rootless.engine import manifests

        known = images.lookup(self.engine, name, lists=True)
        full = str(reference.for_local(name))
        if known is not None and "list" not in known:
            if full in self.store.images.names(known["id"]):
                raise manifests.NameTaken(kind="an image", name=name)
            known = None
        record = manifests.add_entries(self.engine, full, known, self._entries(),
                                       self.notes.of_list)  # fmt: skip
        if self.several:
            self.record = record

    def _make_list(self):
        if self.options.manifest and not self.names:
            return
        from rootless.engine import manifests
        from rootless.image import lists

        found, origins = lists.new(), {}
        for entry, origin in self._entries():
            lists.put(found, entry)
            origins[entry["digest"]] = origin
        lists.annotate(found, self.notes.of_list)
        digest = self.store.blobs.put(lists.dump(found))
        # Without a name there is a list for the outputs only, and no record of it.
        self.record = {"id": None, "manifest": digest, "list": origins}
        if not self.names:
            return
        first, *more = self.names
        known = images.lookup(self.engine, first, lists=True)
        if known is None or "list" not in known or known["manifest"] != digest:
            known = manifests.add_entries(self.engine, first, None, self._entries(),
                                          self.notes.of_list)  # fmt: skip
        self.record = known
        for name in more:
            if self.store.images.refs.get(name) != known["id"]:
                self.store.images.set_list(known["id"], lambda now: now or known, [name])
                events.image(self.engine, "tag", known["id"], name)

    def _forget(self):
        """Remove images that were there for an archive only."""
        self.passing = True
        for image in self.made:
            if not self.store.images.names(image):
                try:
                    self.store.images.remove(image, force=True, nameless=True)
                except RlError:
                    pass  # somebody else was faster

    # --- where it goes ---

    def _deliver(self, output, targets):
        if output.kind == "local":
            self._local(output)
        elif output.kind == "tar":
            outputs.write_tar(self.store, self.builds[0].state.diff_ids, output.dest)
        elif output.kind in ("oci", "docker"):
            outputs.save(
                self.store, self.record, [str(reference.for_local(n)) for n in output.names]
                or self.names, output.kind, output.dest, not output.flags.get("tar", True),
                self.progress.transfer(None),
            )  # fmt: skip
        for target in targets:
            self._push(output, target)

    def _local(self, output):
        split = output.flags.get("platform-split", self.several)
        for built in self.builds:
            path = output.dest
            if split:
                path = f"{path}/{str(built.platform).replace('/', '_')}"
            left_out = outputs.write_local(self.store, built.state.diff_ids, path)
            if left_out:
                self.progress.warning(
                    f"{left_out} device nodes were left out of {path}: only root may make them"
                )

    def _push(self, output, target):
        import time

        from rootless.engine.build import remote_cache

        chosen = remote_cache.connect(self.engine, self.options)
        key = f"push {target}"
        self.progress.step_started(key, f"pushing {target}", None)
        began = time.monotonic()
        try:
            digest = self._send(output, target, chosen, self.progress.transfer(key))
        except BaseException as error:
            self.progress.step_failed(key, error)
            raise
        self.progress.step_done(key, time.monotonic() - began)
        events.image(self.engine, "push", self.record["id"] or digest, str(target))

    def _send(self, output, target, chosen, shown):
        if "list" in self.record:
            from rootless.engine import manifests_push

            form = {True: "oci", False: "docker"}.get(output.flags.get("oci-mediatypes"))
            digest = manifests_push.send(
                self.engine, self.record, target, chosen, output.packing(), form, True, shown,
                str(target),
            )  # fmt: skip
            self.pushed = {"digest": digest}
            return digest
        from rootless.image import push as pusher

        self.pushed = pusher.push_part(
            self.store, self.record, target, chosen, output.packing(), shown
        )
        digest = self.pushed["digest"]
        if output.keeps_image:
            self.store.images.add_digest(self.record["id"], str(target.with_digest(digest)))
        return digest

    # --- what is told of it ---

    def _lines(self):
        return [self.record["id"] or self.record["manifest"]]

    def _tell(self):
        options = self.options
        if options.iidfile:
            record = self.record
            text = record["manifest"] if "list" in record else f"sha256:{record['id']}"
            _write(options.iidfile, text)
        if options.metadata_file:
            _write(options.metadata_file, jsontext.dumps(self._metadata(), indent=2) + "\n")

    def _metadata(self):
        """What BuildKit writes into --metadata-file, as a dict."""
        found = {"buildx.build.ref": f"rl/rl/{os.urandom(13).hex()}"}
        if self.record is None:
            return found
        record = self.record
        digest = (self.pushed or {}).get("digest") or record["manifest"]
        if "list" not in record:
            from rootless.image import lists

            found["containerimage.config.digest"] = record["config"]
            data = self.store.blobs.read(record["manifest"])
            described = {"mediaType": oci.Manifest(oci.load(data, "manifest")).media_type,
                         "digest": digest, "size": len(data)}  # fmt: skip
            described.update(self.pushed or {})
            described["platform"] = lists.platform(images.configuration(self.engine, record))
        else:
            data = self.store.blobs.read(record["manifest"])
            described = {"mediaType": oci.load(data, "index")["mediaType"], "digest": digest,
                         "size": len(data)}  # fmt: skip
        found["containerimage.descriptor"] = described
        found["containerimage.digest"] = digest
        names = self.names or [name for o in self.wanted for name in o.names]
        if names:
            found["image.name"] = ",".join(names)
        return found


def _write(path, text):
    from rootless.image.archive import save as writer

    with writer.Output(path) as descriptor:
        files.write_all(descriptor, text.encode("utf-8", "surrogateescape"))
