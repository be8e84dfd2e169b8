"""A browser without a window, and a page in it that may speak to nobody but its own server."""

import base64
import importlib.util
import io
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking"]
FAKE = Path(__file__).with_name("fake_service.py")


@pytest.fixture(scope="session")
def fake():
    """The module `fake_service`."""
    spec = importlib.util.spec_from_file_location("fake_service", FAKE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def browser():
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install playwright")
    program = next((found for name in CHROMIUM if (found := shutil.which(name))), None)
    if program is None:
        pytest.skip("needs Chromium or Chrome on the PATH")
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=program, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def service(fake):
    service = fake.FakeService()
    yield service
    service.close()


def picture(seed: int, size: tuple[int, int] = (96, 128)) -> np.ndarray:
    """A dark blob on bright skin, uint8 RGB (H, W, 3)."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[: size[0], : size[1]]
    centre = rng.uniform(0.35, 0.65, 2) * size
    distance = np.hypot(rows - centre[0], columns - centre[1]) / rng.uniform(14, 24)
    grey = 60 + 130 / (1 + np.exp(6 * (1 - distance))) + rng.normal(0, 3, size)
    return (grey[..., None] * [1.0, 0.9, 0.85]).clip(0, 255).astype(np.uint8)


@pytest.fixture(scope="session")
def pictures(tmp_path_factory):
    """Four pictures: {name: (file, pixels)}."""
    folder = tmp_path_factory.mktemp("pictures")
    made = {}
    for seed in range(4):
        path = folder / f"lesion{seed}.png"
        pixels = picture(seed)
        Image.fromarray(pixels).save(path)
        made[path.name] = (path, pixels)
    return made


@pytest.fixture(scope="session")
def first(pictures):
    """The first picture: (file, pixels)."""
    return next(iter(pictures.values()))


class Tab:
    """A page of the browser, what it asked for, and what it complained about."""

    def __init__(self, context, origin: str) -> None:
        self.origin = origin
        self.context = context
        self.requests: list[str] = []
        self.complaints: list[str] = []
        context.on("request", lambda request: self.requests.append(request.url))
        self.page = self.open()

    def open(self):
        page = self.context.new_page()
        page.set_default_timeout(30000)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on(
            "console",
            lambda message: (
                self.complaints.append(message.text) if message.type in ("error", "warning") else None
            ),
        )
        page.goto(self.origin)
        page.locator("#model option").first.wait_for(state="attached")
        return page

    def check(self) -> None:
        """Nothing left the origin, and the browser complained about nothing."""
        own = (f"{self.origin}/", f"blob:{self.origin}/")
        assert [url for url in self.requests if not url.startswith(own)] == []
        assert self.complaints == []

    def load(self, *paths: Path) -> None:
        """Add files and wait until all of them are answered."""
        self.page.set_input_files("#files", [str(path) for path in paths])
        self.page.get_by_text(f"{len(paths)} of {len(paths)} predicted").wait_for()
        self.settle()

    def settle(self) -> None:
        """Wait until the stage shows what the session says, and what was waited with is done."""
        self.page.evaluate(
            """async () => {
                const { show } = await import("/stage.js");
                await show();
                await new Promise((resolve) => setTimeout(resolve, 120));
            }"""
        )

    def state(self, expression: str):
        """Evaluate JavaScript with `active` (the mask on show and around it), `session` and `viewer`."""
        return self.page.evaluate(
            f"""async () => {{
                const {{ active, viewer, settings }} = await import("/stage.js");
                const {{ session }} = await import("/session.js");
                return {expression};
            }}"""
        )

    def mask(self) -> np.ndarray:
        """The mask on show, uint8 (H, W)."""
        height, width = self.state("[active().mask.height, active().mask.width]")
        return np.array(self.state("Array.from(active().mask.mask)"), np.uint8).reshape(height, width)

    def text(self, selector: str) -> str:
        return self.page.locator(selector).inner_text()

    def slide(self, selector: str, value: float) -> None:
        """Set a slider as a hand does: move, then let go."""
        self.page.evaluate(
            """([selector, value]) => {
                const slider = document.querySelector(selector);
                slider.value = value;
                slider.dispatchEvent(new Event("input", { bubbles: true }));
                slider.dispatchEvent(new Event("change", { bubbles: true }));
            }""",
            [selector, str(value)],
        )

    def overlay(self, pane: int = 0) -> np.ndarray:
        """What lies over the picture of a pane, uint8 RGBA (H, W, 4) of the screen."""
        width, height, values = self.page.evaluate(
            """async (pane) => {
                const { viewer } = await import("/stage.js");
                const { overlay } = viewer.panes[pane];
                const copy = new OffscreenCanvas(overlay.width, overlay.height);
                const context = copy.getContext("2d", { willReadFrequently: true });
                context.drawImage(overlay, 0, 0);
                const { data } = context.getImageData(0, 0, copy.width, copy.height);
                let text = "";
                for (let i = 0; i < data.length; i += 8192) {
                    text += String.fromCharCode(...data.subarray(i, i + 8192));
                }
                return [copy.width, copy.height, btoa(text)];
            }""",
            pane,
        )
        return np.frombuffer(base64.b64decode(values), np.uint8).reshape(height, width, 4)

    def point(self, x: float, y: float, pane: str = "#first") -> tuple[float, float]:
        """Where a point of the image (in pixels) is on the screen."""
        box = self.page.locator(pane).bounding_box()
        scale, left, top = self.state("[viewer.view.scale, viewer.view.x, viewer.view.y]")
        return box["x"] + left + scale * x, box["y"] + top + scale * y

    def draw(self, *points: tuple[float, float]) -> None:
        """Press the mouse at the first point of the image, move over the others, let go."""
        mouse = self.page.mouse
        mouse.move(*self.point(*points[0]))
        mouse.down()
        for point in points[1:]:
            mouse.move(*self.point(*point))
        mouse.up()

    def download(self, selector: str) -> bytes:
        with self.page.expect_download() as waiting:
            self.page.click(selector)
        return Path(waiting.value.path()).read_bytes()


@pytest.fixture
def context(browser):
    context = browser.new_context(viewport={"width": 1040, "height": 640})
    yield context
    context.close()


@pytest.fixture
def open_tab(context):
    """The function that opens the page of a server."""
    return lambda origin: Tab(context, origin)


@pytest.fixture
def tab(open_tab, service):
    """The page, freshly opened; afterwards nothing may have been asked of anybody else, or gone wrong."""
    tab = open_tab(service.origin)
    yield tab
    tab.check()


@pytest.fixture(scope="session")
def read_png():
    """Read the values of a PNG file from its bytes."""
    return lambda data: np.array(Image.open(io.BytesIO(data)))
