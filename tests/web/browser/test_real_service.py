"""The page with the real service behind it: from an image to a stored correction and a DICOM segmentation."""

import io
import socket
import threading
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("fastapi")
pytest.importorskip("uvicorn")
pytest.importorskip("sqlalchemy")


@pytest.fixture
def address(tmp_path):
    from web_service import Bright

    from delineate.inference.predictor import Predictor
    from delineate.web.app import create_app
    from delineate.web.server import make_server
    from delineate.web.settings import Settings
    from delineate.web.store import CorrectionStore
    from delineate.web.store.router import corrections_router

    settings = Settings()
    with CorrectionStore(str(tmp_path / "corrections.db")) as store:
        predictor = Predictor(Bright(), uncertainty=True)
        app = create_app([(predictor, Path("runs/bright"))], settings, routers=[corrections_router(store)])
        server = make_server(app, settings)
        with socket.create_server(("127.0.0.1", 0)) as listener:
            thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
            thread.start()
            deadline = time.monotonic() + 20
            while not (server.started and app.state.service.warm) and time.monotonic() < deadline:
                time.sleep(0.01)
            yield f"http://127.0.0.1:{listener.getsockname()[1]}", store
            server.should_exit = True
            thread.join()


def test_from_an_image_to_a_correction_and_a_segmentation(context, open_tab, address, tmp_path, read_png):
    origin, store = address
    rows, columns = np.mgrid[:90, :120]
    disc = np.hypot(rows - 45, columns - 60) < 25
    path = tmp_path / "disc.png"
    Image.fromarray(np.where(disc, 220, 40).astype(np.uint8)[..., None].repeat(3, 2)).save(path)

    tab = open_tab(origin)
    tab.load(path)
    predicted = tab.mask()
    dice = 2 * (predicted & disc).sum() / (predicted.sum() + disc.sum())
    assert dice > 0.95
    tab.page.select_option("#map", "uncertainty")
    tab.page.get_by_text("Uncertainty: entropy").wait_for()
    tab.page.locator("#lesions").get_by_text("Regions that the model found (1)").wait_for()

    tab.page.keyboard.press("b")
    tab.draw((10, 10), (40, 12))
    corrected = tab.mask()
    assert (corrected != predicted).any()
    tab.page.select_option("#label", "bad")
    tab.page.fill("#author", "A. Reader")
    tab.page.click("#save")
    tab.page.get_by_text("Saved as 1").wait_for()
    stored = store.get(1).correction
    np.testing.assert_array_equal(read_png(stored.mask) > 0, corrected == 1)
    np.testing.assert_array_equal(read_png(stored.predicted_mask) > 0, predicted == 1)
    assert stored.image == path.read_bytes()
    assert (stored.filename, stored.author, stored.label) == ("disc.png", "A. Reader", "bad")
    tab.page.click("#stored")
    tab.page.locator("#corrections").get_by_text("A. Reader").wait_for()
    tab.page.keyboard.press("Escape")

    pydicom = pytest.importorskip("pydicom")
    pytest.importorskip("highdicom")
    archive = zipfile.ZipFile(io.BytesIO(tab.download("[data-download=dicom]")))
    segmentation = pydicom.dcmread(io.BytesIO(archive.read("segmentation.dcm")))
    np.testing.assert_array_equal(segmentation.pixel_array.reshape(corrected.shape) > 0, corrected == 1)
    tab.check()


def test_dicom_is_shown_though_a_browser_cannot(context, open_tab, address, tmp_path):
    from web_service import dicom_bytes

    origin, _ = address
    values = np.full((40, 60), 100, np.uint16)
    values[10:30, 20:40] = 900
    path = tmp_path / "scan.dcm"
    path.write_bytes(dicom_bytes(values, PixelSpacing=[0.5, 0.5]))
    tab = open_tab(origin)
    tab.load(path)
    assert tab.mask()[20, 30] == 1
    assert tab.mask()[5, 5] == 0
    assert "0.5 (of the file)" in tab.page.locator("#spacing").get_attribute("placeholder")
    bright = tab.state(
        "Array.from(viewer.picture.levels).map((one) => [one.width, one.height])",
    )
    assert bright[0] == [60, 40]
    assert tab.page.locator("#state").is_hidden()
    tab.check()
