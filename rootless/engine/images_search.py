"""``rl search``: what registries have (podman-search(1))."""

from rootless.engine import filters, images, images_pull
from rootless.errors import RlError
from rootless.image import pull as puller
from rootless.image.registry import client, http
from rootless.model import reference
from rootless.model.reference import DEFAULT_DOMAIN, LOCALHOST, is_component, is_domain

_LIMIT = 25
_HUB_SEARCH = "index.docker.io"
_FILTERS = ("stars", "is-official", "is-automated")


class NoTerm(RlError):
    """what is to be searched for?"""

    hint = "rl search TERM, rl search REGISTRY/TERM, or rl search REGISTRY/ for all it has"


class NoRegistries(RlError):
    """there is no registry to search {0!r} in"""

    hint = "rl search REGISTRY/{0}, or set unqualified-search-registries in registries.toml"


class NothingToFilter(RlError):
    """--filter has no meaning for --list-tags"""


class NotSearchable(RlError):
    """{host} can't be searched: {why}"""

    hint = "rl search --list-tags {host}/NAME shows the tags of a repository whose name is known"


def search(engine, request, login=None):
    """(rows, errors): a dict for each image found; RlErrors of registries that failed while
    another one answered."""
    term = request.args[0]
    chosen = _options(engine, request, login)
    limit = request.limit or _LIMIT
    wanted = _wanted(request.filter)
    registry, rest = split(term)
    if registry is None and not rest:
        raise NoTerm()
    domains = [registry] if registry else list(dict.fromkeys(
        place.partition("/")[0] for place in chosen.registries.search
    ))  # fmt: skip
    if not domains:
        raise NoRegistries(rest)
    rows, failed = [], []
    for domain in domains:
        try:
            rows += _search_one(domain, rest, limit, wanted, chosen)
        except (RlError, OSError) as error:
            if not isinstance(error, RlError):
                error = NotSearchable(host=domain, why=error.strerror)
            failed.append(error)
    if failed and len(failed) == len(domains):
        raise failed[0]
    return rows, failed


def tags(engine, request, login=None):
    """(name, its tags) of the repository --list-tags is about."""
    if request.filter:
        raise NothingToFilter()
    chosen = _options(engine, request, login)
    parsed = reference.parse(request.args[0].removeprefix("docker://"))
    if parsed.tag or parsed.digest:
        raise reference.BadReference(text=request.args[0], why="--list-tags wants a name only")
    repository = reference.normalise(parsed.name)
    found = puller.all_tags(repository, chosen)
    return repository.name, [one.tag for one in found][: request.limit or _LIMIT]


def split(term):
    """(registry or None, the rest) of what is searched for."""
    term = term.removeprefix("docker://")
    first, slash, rest = term.partition("/")
    named = "." in first or ":" in first or first == LOCALHOST
    if slash and named and is_domain(first):
        return first, rest
    return None, term


def _options(engine, request, login):
    return images_pull.options(
        engine,
        images.registries(engine),
        login=login,
        authfile=request.authfile,
        cert_dir=request.cert_dir,
        tls_verify=request.tls_verify if "tls_verify" in request.given else None,
        retry=1,
    )


def _wanted(texts):
    """A function row → whether the filters let it through. Raises BadFilter."""
    texts = [text if "=" in text or text == "stars" else f"{text}=true" for text in texts]
    tests = []
    for key, value in filters.parse(texts, _FILTERS):
        if key == "stars":
            if not (value.isascii() and value.isdecimal()):
                raise filters.BadFilter(f"stars={value}", "expected a number")
            tests.append(lambda row, least=int(value): row["Stars"] >= least)
        else:
            field = "Official" if key == "is-official" else "Automated"
            truth = filters.truth(key, value)
            tests.append(lambda row, field=field, truth=truth: bool(row[field]) == truth)
    return lambda row: all(test(row) for test in tests)


def _search_one(domain, term, limit, wanted, chosen):
    """The rows of one registry. Raises NotSearchable and what its client raises."""
    probe = reference.Reference(domain, "x")
    place = chosen.registries.endpoints(probe)[-1]
    prefix = place.repository[:-1] if domain != DEFAULT_DOMAIN else ""
    host = _HUB_SEARCH if domain == DEFAULT_DOMAIN else place.host
    connection = puller.Connection(chosen)
    try:
        registry = connection.registry(place.domain, host, "", place.insecure)
        found = None
        if term:
            found = registry.search(connection.session, prefix + term, limit)
        if not found and domain != DEFAULT_DOMAIN:
            found = _from_catalog(registry, connection.session, domain, prefix, term, limit)
        elif found is None:
            raise NotSearchable(host=domain, why="it doesn't answer searches")
    except (client.Unknown, client.Denied, client.Unexpected) as error:
        raise NotSearchable(host=domain, why=error.message) from None
    except http.Unreachable as error:
        raise NotSearchable(host=domain, why=error.message, hint=error.hint) from None
    finally:
        connection.close()
    rows = [_row(domain, prefix, one) for one in found]
    return [row for row in rows if row is not None and wanted(row)][:limit]


def _from_catalog(registry, session, domain, prefix, term, limit):
    found = []
    for name in registry.catalog(session):
        if name.startswith(prefix) and term in name[len(prefix) :]:
            found.append({"name": name})
            if len(found) == limit:
                break
    return found


def _row(domain, prefix, one):
    """One result as what is shown; None for what is no name."""
    name = one.get("name")
    if not isinstance(name, str):
        return None
    name = name.removeprefix(f"{domain}/").removeprefix(prefix)
    if not all(map(is_component, name.split("/"))):
        return None
    if domain == DEFAULT_DOMAIN and "/" not in name:
        name = f"library/{name}"
    text, stars = one.get("description"), one.get("star_count")
    return {
        "Index": domain,
        "Name": f"{domain}/{name}",
        "Description": text if isinstance(text, str) else "",
        "Stars": stars if isinstance(stars, int) and not isinstance(stars, bool) else 0,
        "Official": "[OK]" if one.get("is_official") is True else "",
        "Automated": "[OK]" if one.get("is_automated") is True else "",
        "Tag": "",
    }
