"""Defaults of run and create that the settings change: [containers] and [network] of rl.toml."""


def with_defaults(config, request):
    """``request`` with what the settings say where nothing was typed.

    Lists of the settings come before what was typed; other values give way to it.
    """
    if not config.containers and config.network is None:
        return request
    changes = {}
    for name, value in config.containers.items():
        if isinstance(value, tuple):
            changes[name] = (*value, *request.options[name])
        elif name not in request.given:
            changes[name] = value
    if config.network is not None and "network" not in request.given:
        changes["network"] = (config.network,)
    return request.replace(**changes)
