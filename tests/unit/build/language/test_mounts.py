"""RUN --mount: options out of a fixed set, whatever variables bring."""

import pytest

from rootless.build.language import instructions, parse
from rootless.build.language.source import BuildError


def mount(text):
    file = instructions.read(parse.parse(f"FROM scratch\nRUN --mount={text} a"))
    run = file.stages[0].instructions[0]
    return run.mounts[0], run.node


def expanded(text, **values):
    found, node = mount(text)
    return found.expanded(values.get, node)


def refused(text, match, **values):
    with pytest.raises(BuildError, match=match) as error:
        found, node = mount(text)
        found.expanded(values.get, node)
    assert "Containerfile:2:" in str(error.value)
    return error.value


def test_bind():
    found, _ = mount("type=bind,from=Base,src=a,dst=/b,rw")
    assert (found.type, found.options) == (
        "bind", {"from": "Base", "source": "a", "target": "/b", "readonly": "false"})  # fmt: skip
    assert (found.from_, found.source, found.target, found.readonly) == ("Base", "a", "/b", False)
    assert mount("target=/b")[0].type == "bind"
    assert mount("target=/b")[0].readonly
    assert mount("TYPE=BIND,Target=/b,Ro=T")[0].options == {"target": "/b", "readonly": "T"}


def test_cache():
    found, _ = mount("type=cache,target=/c,id=x,sharing=Locked,mode=0750,uid=1,gid=2,ro=false")
    assert (found.id, found.sharing, found.mode, found.uid, found.gid) == (
        "x",
        "locked",
        0o750,
        1,
        2,
    )
    assert not found.readonly
    plain, _ = mount("type=cache,target=/c")
    assert (plain.sharing, plain.mode, plain.uid, plain.id) == ("shared", None, None, None)
    assert not plain.readonly


def test_tmpfs_secret_and_ssh():
    assert mount("type=tmpfs,target=/t,size=1.5m")[0].size == 3 << 19
    assert not mount("type=tmpfs,target=/t")[0].readonly
    secret, _ = mount("type=secret,id=a,env=A,required,mode=400")
    assert (secret.id, secret.env, secret.required, secret.mode) == ("a", "A", True, 0o400)
    assert not mount("type=secret,target=/run/x")[0].required
    assert mount("type=ssh")[0].options == {}
    assert mount("type=ssh,required=false")[0].required is False


def test_variables_are_put_in_late():
    found = expanded("type=$t,target=/a$x,id=${i:-z},sharing=$s", t="cache", x="b", s="PRIVATE")
    assert (found.type, found.target, found.id, found.sharing) == ("cache", "/ab", "z", "private")


def test_a_comma_in_a_value_makes_no_option():
    found = expanded("type=bind,target=$x", x="/a,bind-propagation=shared,rw")
    assert found.options == {"target": "/a,bind-propagation=shared,rw"}
    assert found.readonly


def test_quoted_fields():
    assert mount("'type=bind,\"target=/a,b\"'")[0].target == "/a,b"
    assert mount('\'"target=/a""b"\'')[0].target == '/a"b'


@pytest.mark.parametrize(
    "text, why",
    [
        ("type=bind,target=/a,bind-propagation=shared", "no option 'bind-propagation'"),
        ("type=bind,target=/a,relabel=shared", "no option 'relabel'"),
        ("type=bind,target=/a,z", "no option 'z'"),
        ("type=bind,target=/a,upperdir=/x", "no option 'upperdir'"),
        ("type=bind,targget=/a", "no option 'targget'"),
        ("type=devpts,target=/a", "no type 'devpts'"),
        ("type=volume,target=/a", "no type"),
        ("type=,target=/a", "no type"),
        ("type=bind", "needs a target"),
        ("type=cache", "needs a target"),
        ("type=tmpfs", "needs a target"),
        ("type=bind,target=", "needs a target"),
        ("type=bind,target", "needs a value"),
        ("type=bind,from=$x,target=/a", "can't have variables"),
        ("type=bind,target=/a,sharing=locked", "has no sharing"),
        ("type=bind,target=/a,size=1", "has no size"),
        ("type=bind,target=/a,id=x", "has no id"),
        ("type=bind,target=/a,mode=755", "has no mode"),
        ("type=tmpfs,target=/a,from=b", "has no from"),
        ("type=tmpfs,target=/a,required", "has no required"),
        ("type=tmpfs,target=/a,size=big", "sizes look like"),
        ("type=cache,target=/a,sharing=exclusive", "one of shared, private, locked"),
        ("type=cache,target=/a,sharing=lokced", "locked"),
        ("type=cache,target=/a,mode=9", "octal"),
        ("type=cache,target=/a,mode=77777", "octal"),
        ("type=cache,target=/a,uid=-1", "is a number"),
        ("type=cache,target=/a,uid=root", "is a number"),
        ("type=cache,target=/a,gid=4294967295", "is a number"),
        ("type=cache,target=/a,uid=²", "is a number"),
        ("type=bind,target=/a,ro=maybe", "true or false"),
        ("type=bind,target=/a,rw=maybe", "true or false"),
        ("type=secret", "needs an id"),
        ("type=secret,id=a,source=b", "not both"),
        ("type=secret,id=a,from=b", "has no from"),
        ("type=secret,id=a,env=A=B", "name of a variable"),
        ("type=ssh,env=A", "has no env"),
        ("type=bind,,target=/a", "is empty"),
        ("", "needs a value"),
        ("type=bind,target=/a,", "is empty"),
        ("'type=bind,target=\"/a\"'", "a quote inside"),
        ("'\"target=/a'", "never closed"),
        ("'\"target=/a\"x'", "follows a quoted"),
    ],
)
def test_what_is_refused(text, why):
    refused(text, why)


@pytest.mark.parametrize(
    "text, values, why",
    [
        ("type=$t,target=/a", {"t": "proc"}, "no type"),
        ("type=$t,target=/a", {"t": "bind,rw"}, "no type"),
        ("type=$t,target=/a,size=1", {"t": "bind"}, "has no size"),
        ("type=cache,target=/a,sharing=$s", {"s": "rshared"}, "did you mean shared"),
        ("type=cache,target=/a,mode=$s", {"s": "0x1"}, "octal"),
        ("type=bind,target=$s", {"s": "/a\nb"}, "control characters"),
        ("type=bind,target=$s", {}, "needs a target"),
        ("type=cache,target=/a,id=$s", {"s": "a\0b"}, "control characters"),
        ("type=secret,id=a,env=$s", {"s": "LD PRELOAD"}, "name of a variable"),
        ("type=tmpfs,target=/a,size=$s", {"s": "1m,mode=777"}, "sizes look like"),
        ("type=bind,target=${s:?}", {}, "s: isn't set"),
    ],
)
def test_what_variables_may_not_bring(text, values, why):
    refused(text, why, **values)


def test_types_are_guessed():
    assert "cache" in refused("type=cachee,target=/a", "no type 'cachee'").advice
    assert "target" in refused("type=bind,targget=/a", "targget").advice
