"""rl logout"""

from rootless.cli import output


def main(engine, request):
    """Log out of a registry, or of all."""
    from rootless.engine import images_login

    if request.all:
        images_login.logout_everywhere(engine, request.authfile)
        output.line("Removed login credentials for all registries")
        return 0
    key, _ = images_login.registry_name(engine, request.args[0] if request.args else None)
    images_login.logout(engine, key, request.authfile)
    output.line(f"Removed login credentials for {key}")
    return 0
