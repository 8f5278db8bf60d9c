"""Manifests, indexes, configurations and platforms from strangers."""

import json
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rootless.model import oci
from rootless.model.oci import BadDocument, Platform

SHA = "sha256:" + "ab" * 32
LAYER = {"mediaType": oci.OCI_LAYER + "+gzip", "digest": SHA, "size": 10}
CONFIG = {"mediaType": oci.OCI_CONFIG, "digest": SHA, "size": 10}
AMD64 = Platform("linux", "amd64")


def manifest(**change):
    found = {"schemaVersion": 2, "mediaType": oci.OCI_MANIFEST, "config": CONFIG, "layers": [LAYER]}
    found.update(change)
    return {key: value for key, value in found.items() if value is not ...}


def config(**change):
    found = {"architecture": "amd64", "os": "linux", "config": {"Cmd": ["x"]},
             "rootfs": {"type": "layers", "diff_ids": [SHA]}}  # fmt: skip
    found.update(change)
    return json.dumps(found).encode()


def test_a_manifest():
    found = oci.Manifest(manifest(annotations={"a": "b"}), oci.OCI_MANIFEST)
    assert found.layers == [LAYER] and found.annotations == {"a": "b"}
    assert oci.Manifest(manifest(mediaType=...)).media_type == oci.OCI_MANIFEST
    found = oci.Manifest(manifest(mediaType=...), oci.DOCKER_MANIFEST)
    assert found.media_type == oci.DOCKER_MANIFEST


@pytest.mark.parametrize(
    "change",
    [
        {"manifests": []},
        {"layers": ..., "config": ...},
        {"layers": ...},
        {"layers": {}},
        {"layers": [LAYER] * 501},
        {"layers": [None]},
        {"layers": [{**LAYER, "digest": "sha256:../../x"}]},
        {"layers": [{**LAYER, "digest": "md5:" + "a" * 32}]},
        {"layers": [{**LAYER, "size": -1}]},
        {"layers": [{**LAYER, "size": True}]},
        {"layers": [{**LAYER, "size": "10"}]},
        {"layers": [{**LAYER, "mediaType": 5}]},
        {"layers": [{**LAYER, "mediaType": "application/x+encrypted"}]},
        {"layers": [{**LAYER, "urls": "https://x"}]},
        {"config": ...},
        {"config": {**CONFIG, "size": 5 << 20}},
        {"mediaType": oci.OCI_INDEX},
        {"mediaType": "text/plain"},
        {"mediaType": 7},
        {"schemaVersion": 3},
        {"schemaVersion": ...},
        {"annotations": {"a": 1}},
    ],
)
def test_bad_manifests(change):
    with pytest.raises(BadDocument):
        oci.Manifest(manifest(**change))


def test_what_was_sent_must_be_what_it_calls_itself():
    with pytest.raises(BadDocument):
        oci.Manifest(manifest(), oci.OCI_INDEX)
    with pytest.raises(BadDocument):
        oci.Manifest(manifest(), oci.DOCKER_MANIFEST)
    with pytest.raises(BadDocument):
        oci.index_entries({"schemaVersion": 2, "manifests": []}, oci.OCI_MANIFEST)


def test_both_readings_are_refused():
    both = manifest(mediaType=..., manifests=[])
    for claimed in (None, oci.OCI_INDEX, oci.OCI_MANIFEST):
        with pytest.raises(BadDocument, match="both"):
            oci.document_type(both, claimed)


def test_schema_1_has_its_own_words():
    with pytest.raises(oci.Schema1):
        oci.document_type({"schemaVersion": 1, "fsLayers": []})
    with pytest.raises(oci.Schema1):
        oci.document_type(manifest(), oci.DOCKER_SCHEMA1[1])


def test_artifacts_are_no_images():
    other = {**CONFIG, "mediaType": "application/vnd.cncf.helm.config.v1+json"}
    with pytest.raises(oci.NotAnImage, match="helm"):
        oci.Manifest(manifest(config=other))


@pytest.mark.parametrize("data", [b"", b"[]", b"{", b'"x"', b"\xff", b"[" * 100_000, b"nul"])
def test_not_an_object(data):
    with pytest.raises(BadDocument):
        oci.load(data, "manifest")


def test_the_limit():
    with pytest.raises(BadDocument, match="4 MiB"):
        oci.load(b" " * ((4 << 20) + 1), "manifest")


@pytest.mark.parametrize(
    "change",
    [
        {"rootfs": None},
        {"rootfs": {"type": "other"}},
        {"rootfs": {"type": "layers", "diff_ids": "x"}},
        {"rootfs": {"type": "layers", "diff_ids": ["x"]}},
        {"config": []},
        {"config": {"Cmd": "sh"}},
        {"config": {"Env": [1]}},
        {"config": {"Labels": {"a": 1}}},
        {"config": {"User": 0}},
        {"history": {}},
        {"history": [1]},
        {"os": 1},
        {"architecture": {}},
    ],
)
def test_bad_configurations(change):
    with pytest.raises(BadDocument):
        oci.parse_config(config(**change))


def test_null_is_absent():
    found = oci.parse_config(config(config={"Cmd": None, "Env": None}, history=None, author=None))
    assert found["config"] == {} and "history" not in found


def test_environment_entries_need_a_value():
    found = oci.parse_config(config(config={"Env": ["A=1", "SECRET", "*", "=x", "B="]}))
    assert found["config"]["Env"] == ["A=1", "B="]


def test_layers_and_diff_ids_have_to_match():
    found = oci.parse_config(config())
    assert oci.match_layers(oci.Manifest(manifest()), found) == [(LAYER, SHA)]
    with pytest.raises(BadDocument):
        oci.match_layers(oci.Manifest(manifest(layers=[])), found)


# --- platforms -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("linux/amd64", "linux/amd64"),
        ("linux/x86_64", "linux/amd64"),
        ("LINUX/AARCH64", "linux/arm64"),
        ("linux/arm64/v8", "linux/arm64"),
        ("linux/arm", "linux/arm/v7"),
        ("linux/arm/6", "linux/arm/v6"),
        ("linux/armhf", "linux/arm/v7"),
        ("arm64", "linux/arm64"),
        ("linux", "linux/amd64"),
        ("linux/amd64/v1", "linux/amd64"),
        ("linux/amd64/v3", "linux/amd64/v3"),
    ],
)
def test_platform_names(text, found):
    assert str(oci.parse_platform(text, AMD64)) == found


@pytest.mark.parametrize("text", ["", "/", "linux/", "a/b/c/d", "linux//v7", "a\x1b/b"])
def test_bad_platforms(text):
    with pytest.raises(oci.BadPlatform):
        oci.parse_platform(text, AMD64)


def entries(*platforms):
    return [
        {"mediaType": oci.OCI_MANIFEST, "digest": f"sha256:{i:064x}", "size": 1,
         **({"platform": dict(zip(("os", "architecture", "variant"), p.split("/"), strict=False))}
            if p else {})}
        for i, p in enumerate(platforms)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("offered", "wanted", "best"),
    [
        (["linux/arm64", "linux/amd64"], "linux/amd64", 1),
        (["linux/arm/v5", "linux/arm/v7", "linux/arm/v6"], "linux/arm/v7", 1),
        (["linux/arm/v5", "linux/arm/v6"], "linux/arm/v7", 1),
        (["linux/amd64/v3", "linux/amd64"], "linux/amd64", 1),
        (["linux/amd64", "linux/amd64/v2"], "linux/amd64/v3", 1),
        (["unknown/unknown", "linux/amd64"], "linux/amd64", 1),
        (["linux/arm64/v8"], "linux/arm64", 0),
        ([""], "linux/s390x", 0),
    ],
)
def test_the_best_platform(offered, wanted, best):
    listed = entries(*offered)
    assert oci.choose(listed, oci.parse_platform(wanted, AMD64)) is listed[best]


@pytest.mark.parametrize(
    ("offered", "wanted"),
    [
        (["linux/arm64", "windows/amd64"], "linux/amd64"),
        (["linux/arm/v7"], "linux/arm/v6"),
        (["linux/amd64/v3"], "linux/amd64"),
        ([], "linux/amd64"),
        (["unknown/unknown"], "linux/amd64"),
    ],
)
def test_no_platform_says_what_there_is(offered, wanted):
    with pytest.raises(oci.NoSuchPlatform) as error:
        oci.choose(entries(*offered), oci.parse_platform(wanted, AMD64))
    for name in offered:
        assert name in error.value.message or "unknown" in name


# --- times ---------------------------------------------------------------------------------


@given(
    st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30)),
    st.integers(-12 * 60, 14 * 60),
)
def test_times_are_read_as_datetime_reads_them(moment, offset):
    moment = moment.replace(tzinfo=timezone(timedelta(minutes=offset)), microsecond=0)
    assert oci.unix_time(moment.isoformat()) == moment.timestamp()


def test_times_of_go():
    assert oci.unix_time("1970-01-01T00:00:00Z") == 0
    assert oci.unix_time("2024-01-02T03:04:05.5Z") == 1704164645.5
    assert oci.unix_time("2024-01-02T03:04:05.123456789+01:00") == pytest.approx(1704161045.123)


@pytest.mark.parametrize("text", ["", "x", "2024", "2024-01-02T03:04:05", None, "2024-01-02T03:0"])
def test_what_is_no_time(text):
    assert oci.unix_time(text) is None
