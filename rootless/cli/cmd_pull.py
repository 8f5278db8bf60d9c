"""rl pull"""

from rootless.cli import output, progress


def main(engine, request):
    """Get images; prints their ids."""
    from rootless.engine import images_pull

    login = typed_login(request)
    with progress.choose(request.quiet) as shown:
        found = images_pull.pull(engine, request, shown, login)
    for record in found:
        output.line(record["id"])
    return 0


def typed_login(request):
    """What --creds says as a Login, the password asked for if it isn't there; or None."""
    if not request.creds:
        return None
    from rootless.engine import images_pull

    text, (user, colon, _) = request.creds, request.creds.partition(":")
    if not colon:
        import getpass

        text += ":" + getpass.getpass(f"Password for {user}: ")
    return images_pull.split_creds(text)
