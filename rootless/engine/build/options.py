"""What ``rl build`` was asked for: one attribute for each option, named as the option is."""


class Options:
    """The options of a build, as ``rl build --help`` has them; - is written as _.

    Texts are as they were typed: what belongs to an option's form is checked by the module
    that uses it.  A name that isn't known is a TypeError.
    """

    def __init__(self, **given):
        for table in (_CONTEXT, _IMAGE, _CACHE, _REGISTRY, _STEPS, _RESULT):
            for name, value in table.items():
                setattr(self, name, list(value) if isinstance(value, (list, tuple)) else value)
        for name, value in given.items():
            if not hasattr(self, name):
                raise TypeError(f"a build has no option {name}")
            setattr(self, name, value)

    def copy(self, **changes):
        """The same options but for ``changes``; lists are shared."""
        found = Options.__new__(Options)
        found.__dict__.update(self.__dict__)
        for name, value in changes.items():
            if name not in found.__dict__:
                raise TypeError(f"a build has no option {name}")
            found.__dict__[name] = value
        return found


# Lists are of texts, one for each time an option is given.  None: not given.

_CONTEXT = {
    "context": None,  # directory, "-", URL or git; None: the directory of the first file, or "."
    "file": (),  # Containerfiles, joined; a path, "-" or a URL
    "ignorefile": None,
    "build_context": (),  # NAME=PLACE
    "build_arg": (),  # NAME=VALUE, or NAME for the caller's environment
    "build_arg_file": (),
    "target": None,
    "from_": None,  # --from: replaces the image of the first FROM
}

_IMAGE = {
    "tag": (),
    "label": (),  # NAME=VALUE
    "annotation": (),  # NAME=VALUE
    "env": (),  # NAME=VALUE
    "unsetenv": (),
    "unsetlabel": (),
    "unsetannotation": (),
    "inherit_labels": True,
    "inherit_annotations": True,
    "identity_label": False,
    "created_annotation": False,
    "format": "oci",  # oci, docker
    "layers": True,
    "squash": False,
    "squash_all": False,
    "omit_history": False,
    "timestamp": None,  # seconds since 1970 (int)
    "source_date_epoch": None,  # seconds since 1970 (int)
    "rewrite_timestamp": True,  # limit the times of new files to source_date_epoch
    "manifest": None,  # the list that the images are added to
    "platform": (),  # OS/ARCH[/VARIANT], several
    "os": None,
    "arch": None,
    "variant": None,
    "os_version": None,
    "os_feature": (),  # NAME, or NAME- to take one away
}

_CACHE = {
    "no_cache": False,
    "no_cache_filter": (),  # names or numbers of stages; one text may have several, with commas
    "cache_ttl": None,  # a duration such as 24h; "0" is as no_cache
    "cache_from": (),  # repositories
    "cache_to": (),
    "skip_unused_stages": True,
    "jobs": None,  # stages at once; None: as many as there are processors, 0: no limit
}

_REGISTRY = {
    "pull": None,  # always, missing, newer, never; None: missing
    "authfile": None,
    "cert_dir": None,
    "creds": None,
    "tls_verify": None,
    "retry": None,  # times (int)
    "retry_delay": None,  # seconds (float)
}

_STEPS = {
    "add_host": (),
    "cap_add": (),
    "cap_drop": (),
    "cgroup_parent": None,
    "cgroupns": None,
    "cpu_period": None,
    "cpu_quota": None,
    "cpu_shares": None,
    "cpuset_cpus": None,
    "cpuset_mems": None,
    "device": (),
    "dns": (),
    "dns_option": (),
    "dns_search": (),
    "group_add": (),
    "http_proxy": True,
    "ipc": None,
    "memory": None,
    "memory_swap": None,
    "network": None,  # None is the default network
    "no_hosts": False,
    "no_hostname": False,
    "pid": None,
    "secret": (),  # id=NAME,src=PATH,env=NAME
    "security_opt": (),
    "allow": (),  # entitlements: security.insecure, network.host, device
    "shm_size": None,
    "ssh": (),  # default, or ID=PATH[,PATH]
    "ulimit": (),
    "userns": None,
    "uts": None,
    "volume": (),  # SOURCE:DESTINATION[:OPTIONS]
}

_RESULT = {
    "check": False,  # lint only
    "iidfile": None,
    "metadata_file": None,
    "logfile": None,
    "logsplit": False,
    "output": (),  # type=local,dest=PATH …
    "progress": "auto",  # auto, plain, tty, none
    "quiet": False,
    "rm": True,
    "force_rm": True,
}
