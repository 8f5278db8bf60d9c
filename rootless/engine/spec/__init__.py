"""From the options of run and create, and an image's configuration, to an OCI specification.

Everything here is pure translation: nothing is mounted, made or looked up in the container.
The only input beside the arguments are files of this machine that the user named
(--env-file, --label-file, a seccomp profile) and the kind of the paths given to -v and
--device.  docs/confinement.md has the defaults and the keys that are rl's own.
``host.gather`` and ``spec.make_spec`` are the two ways in; nothing is imported here, because
many verbs need only ``values``.
"""
