"""Manifest lists as documents."""

import json

import pytest

from rootless.image import lists
from rootless.model import oci

DIGEST = "sha256:" + "1" * 64
OTHER = "sha256:" + "2" * 64


def entry(digest=DIGEST, kind=oci.OCI_MANIFEST):
    return {"mediaType": kind, "digest": digest, "size": 3,
            "platform": {"os": "linux", "architecture": "amd64"}}  # fmt: skip


def test_the_type_follows_the_images():
    found = lists.new()
    assert json.loads(lists.dump(found))["mediaType"] == oci.OCI_INDEX
    lists.put(found, entry(kind=oci.DOCKER_MANIFEST))
    assert json.loads(lists.dump(found))["mediaType"] == oci.DOCKER_INDEX
    lists.put(found, entry(OTHER))
    assert json.loads(lists.dump(found))["mediaType"] == oci.OCI_INDEX


def test_annotations_make_it_oci():
    found = lists.new()
    lists.put(found, entry(kind=oci.DOCKER_MANIFEST))
    lists.annotate(found, ["a=b=c"])
    assert found["annotations"] == {"a": "b=c"}
    assert lists.settled(found)["mediaType"] == oci.OCI_INDEX
    with pytest.raises(lists.NoAnnotations):
        lists.settled(found, oci.DOCKER_INDEX)


@pytest.mark.parametrize("text", ["", "a", "=b"])
def test_bad_annotations(text):
    with pytest.raises(lists.BadAnnotation):
        lists.annotate({}, [text])


def test_the_same_image_comes_once_and_last():
    found = lists.new()
    for digest in (DIGEST, OTHER, DIGEST):
        lists.put(found, entry(digest))
    assert [one["digest"] for one in found["manifests"]] == [OTHER, DIGEST]


def test_the_same_list_gives_the_same_bytes():
    one, two = lists.new(), {}
    lists.put(one, entry())
    for key in reversed(one):
        two[key] = one[key]
    assert lists.dump(one) == lists.dump(two)
    assert lists.read(lists.dump(one))["manifests"] == [entry()]


def test_what_is_read_is_checked():
    for bad in ({"digest": "sha256:1"}, {"size": -1}, {"platform": "x"}):
        found = lists.new()
        found["manifests"] = [{**entry(), **bad}]
        with pytest.raises(oci.BadDocument):
            lists.read(json.dumps(found).encode())
    with pytest.raises(oci.BadDocument):
        lists.read(json.dumps({**lists.new(), "layers": []}).encode())


def test_platforms_of_configurations():
    config = {"os": "linux", "architecture": "arm64", "variant": "v8", "os.version": "1",
              "os.features": ["a"]}  # fmt: skip
    assert lists.platform(config) == {
        "architecture": "arm64", "os": "linux", "variant": "v8", "os.version": "1",
        "os.features": ["a"],
    }  # fmt: skip
    assert lists.platform({"os.features": "hostile"}) == {"architecture": "", "os": "linux"}


def test_changing_an_entry():
    one = entry()
    lists.change(one, {"arch": "arm", "variant": "v7", "os": None, "features": ("x",),
                       "annotation": ("k=v",)})  # fmt: skip
    assert one["platform"] == {"os": "linux", "architecture": "arm", "variant": "v7",
                               "features": ["x"]}  # fmt: skip
    assert one["annotations"] == {"k": "v"}
    bare = {"digest": DIGEST}
    lists.change(bare, {"arch": "s390x"})
    assert bare["platform"] == {"architecture": "s390x", "os": ""}
    with pytest.raises(lists.NotInList):
        lists.find(lists.new(), DIGEST, "x")
