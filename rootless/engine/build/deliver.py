"""The verb build: the platforms asked for, each built; then where the result goes."""


def build(engine, options, progress):
    """Build what ``options`` (engine.build.options.Options) ask for: lines (str) to print.

    ``progress``: as build.solve.progress.Silent.  Raises RlError.
    """
    from rootless.engine.build import build as builder

    result = builder.build(engine, options, progress)
    return [f"sha256:{record['id']}" for record in result.images]


def check(engine, options):
    """The texts of what looks wrong in the Containerfile, a list."""
    from rootless.engine.build import build as builder

    return builder.check(engine, options)
