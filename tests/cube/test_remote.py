"""Files of another machine, which here is a thread that serves parts of a folder."""

from __future__ import annotations

import pickle
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import rasterio

from edgesr.cli.main import main
from edgesr.cube import Window, open_cube, read_cube
from edgesr.cube.parts import cube_files
from edgesr.cube.readers import gdal_address
from edgesr.errors import DataError

DATA = np.random.default_rng(0).integers(1, 4000, (512, 512, 4)).astype(np.int16)


class Parts(BaseHTTPRequestHandler):
    """Serves ranges of bytes, as every object store does, and keeps account of them."""

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, body: bool) -> None:
        server = self.server
        server.asked.append(self.path)
        path = server.folder / self.path.lstrip("/").partition("?")[0]
        if not path.is_file():
            self.send_error(404)
            return
        content = path.read_bytes()
        span = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        part = content[int(span[1]) : int(span[2] or len(content)) + 1] if span else content
        self.send_response(206 if span else 200)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(len(part)))
        if span:
            last = int(span[1]) + len(part) - 1
            self.send_header("Content-Range", f"bytes {span[1]}-{last}/{len(content)}")
        self.end_headers()
        if body:
            server.sent += len(part)
            self.wfile.write(part)

    def log_message(self, *words: object) -> None:
        """Say nothing."""


@pytest.fixture
def server(tmp_path: Path, monkeypatch):
    """A server of the folder ``tmp_path / "served"``, with one GeoTIFF and what lies beside it."""
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setenv("GDAL_HTTP_MAX_RETRY", "0")
    folder = tmp_path / "served"
    folder.mkdir()
    with rasterio.open(
        folder / "scene.tif", "w", driver="GTiff", height=512, width=512, count=4, dtype="int16",
        tiled=True, interleave="band", nodata=-1, transform=rasterio.Affine(30, 0, 5, 0, -30, 9),
    ) as file:  # fmt: skip
        file.write(np.moveaxis(DATA, -1, 0))
        for band in range(1, 5):
            file.update_tags(band, wavelength=400 + 100 * band, wavelength_units="nm")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Parts)
    server.folder, server.asked, server.sent = folder, [], 0
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    server.address = f"http://127.0.0.1:{server.server_port}"
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.parametrize("form", ["{}/scene.tif", "/vsicurl/{}/scene.tif"])
def test_windows_of_a_file_elsewhere(server, form):
    spec = form.format(server.address)
    with open_cube(spec) as opened:
        assert (opened.shape, opened.nodata, opened.chunks) == ((512, 512, 4), -1, (256, 256))
        assert opened.wavelengths.tolist() == [500, 600, 700, 800]
        assert (opened.name, opened.files) == ("scene", ())
        assert opened.source == f"{server.address}/scene.tif"
        assert server.sent < DATA.nbytes / 10
        window = Window(10, 300, 50, 60)
        np.testing.assert_array_equal(opened.read(window, [2]), DATA[10:60, 300:360, 2:3])
        assert server.sent < DATA.nbytes / 2
        with pickle.loads(pickle.dumps(opened)) as again:
            np.testing.assert_array_equal(again.read(window), DATA[10:60, 300:360])
    np.testing.assert_array_equal(read_cube(spec).data, DATA)
    assert set(server.asked) == {"/scene.tif"}  # and nothing beside it
    assert cube_files(spec) == []


@pytest.mark.parametrize("form", ["s3://bucket/scene.tif", "/vsis3/bucket/scene.tif"])
def test_windows_of_an_object_store(server, form, monkeypatch):
    (server.folder / "bucket").mkdir()
    (server.folder / "scene.tif").rename(server.folder / "bucket" / "scene.tif")
    settings = {
        "AWS_S3_ENDPOINT": server.address.removeprefix("http://"), "AWS_HTTPS": "NO",
        "AWS_VIRTUAL_HOSTING": "FALSE", "AWS_NO_SIGN_REQUEST": "YES",
    }  # fmt: skip
    for key, value in settings.items():
        monkeypatch.setenv(key, value)
    with open_cube(form) as opened:
        window = Window(10, 300, 50, 60)
        np.testing.assert_array_equal(opened.read(window, [2]), DATA[10:60, 300:360, 2:3])
    assert set(server.asked) == {"/bucket/scene.tif"}


@pytest.fixture
def s3(monkeypatch):
    """A client of an object store, which GDAL asks with signed requests."""
    server = pytest.importorskip("moto.server", reason="pip install 'edgesr[test]' brings moto")
    settings = {
        "AWS_ACCESS_KEY_ID": "somebody", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_HTTPS": "NO",
        "AWS_DEFAULT_REGION": "us-east-1", "AWS_VIRTUAL_HOSTING": "FALSE", "NO_PROXY": "*",
        "no_proxy": "*", "GDAL_HTTP_MAX_RETRY": "0",
    }  # fmt: skip
    for key, value in settings.items():
        monkeypatch.setenv(key, value)
    store = server.ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    store.start()
    host, port = store.get_host_and_port()
    monkeypatch.setenv("AWS_S3_ENDPOINT", f"{host}:{port}")
    import boto3

    yield boto3.client("s3", endpoint_url=f"http://{host}:{port}")
    store.stop()


@pytest.mark.parametrize("form", ["s3://{}", "/vsis3/{}"])
def test_windows_of_an_object_store_that_is_asked_with_a_key(server, s3, form):
    s3.create_bucket(Bucket="bucket")
    s3.upload_file(str(server.folder / "scene.tif"), "bucket", "some/where/scene.tif")
    with open_cube(form.format("bucket/some/where/scene.tif")) as opened:
        assert (opened.name, opened.shape) == ("scene", (512, 512, 4))
        window = Window(10, 300, 50, 60)
        np.testing.assert_array_equal(opened.read(window, [2]), DATA[10:60, 300:360, 2:3])
    with pytest.raises(DataError, match=r"\A[^\n]*cannot be opened[^\n]*, or download it\Z"):
        read_cube(form.format("bucket/some/where/else.tif"))


def test_info_of_a_file_elsewhere(server, capsys):
    assert main(["info", f"{server.address}/scene.tif?key=secret"]) == 0
    told = capsys.readouterr().out
    assert "512 x 512 pixels, 4 bands" in told
    assert "secret" not in told


def test_what_is_not_there_or_no_geotiff_is_one_line(server, tmp_path):
    (server.folder / "scene.vrt").write_text("<VRTDataset></VRTDataset>")
    for name in ("missing.tif", "scene.vrt"):
        with pytest.raises(DataError, match=r"\A[^\n]*cannot be opened[^\n]*, or download it\Z"):
            read_cube(f"{server.address}/{name}")


def test_a_file_that_points_to_others_is_opened_by_no_driver(server, tmp_path):
    (server.folder / "scene.tif").rename(tmp_path / "other.tif")
    (server.folder / "scene.tif").write_text(
        '<VRTDataset rasterXSize="512" rasterYSize="512"><VRTRasterBand dataType="Int16" band="1">'
        f"<SimpleSource><SourceFilename>{tmp_path}/other.tif</SourceFilename></SimpleSource>"
        "</VRTRasterBand></VRTDataset>"
    )
    with pytest.raises(DataError, match="cannot be opened as a GeoTIFF"):
        read_cube(f"{server.address}/scene.tif")


@pytest.mark.parametrize(
    ("spec", "address"),
    [
        ("s3://bucket/a/b.tif", "/vsis3/bucket/a/b.tif"),
        ("https://host/a.tif", "/vsicurl/https://host/a.tif"),
        ("/vsis3/bucket/a.tif", "/vsis3/bucket/a.tif"),
        ("/vsicurl/https://host/a.tif", "/vsicurl/https://host/a.tif"),
        ("/vsicurl/ftp://host/a.tif", None),
        ("/vsicurl?url=https://host/a.tif", None),
        ("/vsizip//vsicurl/https://host/a.zip", None),
        ("https.tif", None),
        ("C:/a.tif", None),
    ],
)
def test_addresses(spec, address):
    assert gdal_address(spec) == address
