"""A small server with the page and answers of the service's form, computed from the brightness of pictures.

With it the page is tested without a network to run; what it is sent is kept for the test to look at.
"""

import base64
import io
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import numpy as np
from PIL import Image

import delineate

PAGE = Path(delineate.__file__).parent / "web" / "page"
KINDS = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
CSP = "default-src 'self'; img-src 'self' blob: data:; object-src 'none'; base-uri 'none'"

MODELS = {
    "alpha": {"classes": ["lesion"], "labels": ["benign", "malignant"], "explanations": ["clnet", "gradcam"]},
    "beta": {"classes": ["lesion"], "labels": ["benign", "malignant"], "explanations": []},
    "organs": {"classes": ["disc", "cup"], "labels": [], "explanations": []},
}
CARD = {
    "identity": "recipe@0123456789ab torch", "size": [64, 64], "backend": "torch",
    "card": {
        "model": "clnet", "encoder": "resnet18", "recipe": "clnet.isic2017",
        "weights_sha256": "0123456789abcdef",
        "trained": {"dataset": "isic2017", "cases": {"train": 2000, "val": 150, "test": 0}, "epochs": 12,
                    "finished": "2026-03-01T10:00:00+00:00"},
        "scores": {"val": {"dice": 0.7456, "iou": 0.6326}},
    },
}  # fmt: skip
SHIFT = {"alpha": 0.0, "beta": 30.0, "organs": 0.0}


def png(values: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(values).save(file, "PNG")
    return file.getvalue()


def probability_of(image: np.ndarray, model: str) -> np.ndarray:
    """Dark is lesion: float64 (H, W) in [0, 1]."""
    grey = image.astype(float).mean(2)
    return 1 / (1 + np.exp((grey - 110 - SHIFT[model]) / 20))


def mask_of(image: np.ndarray, model: str) -> np.ndarray:
    probability = probability_of(image, model)
    mask = (probability > 0.5).astype(np.uint8)
    if model == "organs":
        mask += probability > 0.8
    return mask


def answer_to(image: np.ndarray, model: str, query: dict[str, str]) -> dict:
    probability = probability_of(image, model)
    grey8 = np.rint(255 * probability).astype(np.uint8)

    def text(values: np.ndarray) -> str:
        return base64.b64encode(png(values)).decode()

    malignant = float(probability.mean().clip(0.01, 0.99))
    several = model == "organs"
    spacing = query.get("spacing")
    method = query.get("explain", "none")
    return {
        "id": "one",
        "model": model,
        "identity": f"{model} 0123456789ab torch none",
        "height": image.shape[0],
        "width": image.shape[1],
        "spacing": None if spacing is None else [float(side) for side in spacing.split(",")],
        "slices": int(query.get("slices", 1)),
        "slice": int(query["slice"]) if "slice" in query else None,
        "label": None if several else {"benign": 1 - malignant, "malignant": malignant},
        "chosen_label": None if several else ("benign", "malignant")[malignant > 0.5],
        "look": round(1 - abs(2 * malignant - 1), 3),
        "measurements": [
            {"class_name": "lesion", "index": 1, "values": {"area": 12.0, "perimeter_mm": None}}
        ],
        "mask": {
            "png": text(mask_of(image, model)),
            "contours": {"type": "FeatureCollection", "features": []},
        },
        "probability": {"png8": [text(grey8)] * 3 if several else text(grey8)},
        "uncertainty": {"entropy": text(255 - np.abs(2 * grey8.astype(int) - 255).astype(np.uint8))}
        if query.get("uncertainty") == "true"
        else None,
        "explanation": None
        if method == "none"
        else {"method": method, "target": "label", "png": text(grey8)},
        "milliseconds": 12.0,
        "research_only": "For research only, not for diagnosis.",
    }


class FakeService(ThreadingHTTPServer):
    """Listens on a free port of the loopback; set `failing` to a path to make its requests fail.

    Corrections of the file names in `refused` are never taken; of a `store` that is None the models say that
    there is none, and one that is False is missing although they say that there is one.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.models = list(MODELS)
        self.failing: str | None = None
        self.refused: set[str] = set()
        self.store: bool | None = True
        self.refuse_once: str | None = None
        self.token: str | None = None
        self.corrections: list[dict] = []
        self.segmentations: list[dict[str, bytes]] = []
        self.asked_segmentations: list[dict[str, str]] = []
        self.measured: list[tuple[dict[str, str], dict[str, bytes]]] = []
        self.may_measure = threading.Event()  # cleared, it holds the answer back
        self.may_measure.set()
        self.predictions: list[dict[str, str]] = []
        self.thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self.thread.start()

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, *_args) -> None:
        """A page that is closed while it is answered is no fault."""

    def close(self) -> None:
        self.shutdown()
        self.server_close()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FakeService

    def log_message(self, *_args) -> None:
        pass

    def answer(self, status: int, body: bytes, kind: str, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Security-Policy": CSP, **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def json(self, value: object, status: int = 200, **headers: str) -> None:
        self.answer(status, json.dumps(value).encode(), "application/json", **headers)

    def handle_one(self, method: str) -> None:
        address = urlsplit(self.path)
        query = {key: values[-1] for key, values in parse_qs(address.query).items()}
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = address.path.removeprefix("/api/v1/")
        asked, token = self.headers.get("Authorization"), self.server.token
        if token and address.path.startswith("/api/") and asked != f"Bearer {token}":
            self.json({"error": "This service wants a token.", "code": "unauthorised"}, 401)
        elif path == self.server.failing:
            self.json({"error": "The disk of the server is full; make room.", "code": "full"}, 507)
        elif path == self.server.refuse_once:
            self.server.refuse_once = None
            self.json({"error": "The queue is full.", "code": "busy"}, 503, Retry_After="1")
        elif path == "models":
            about = {"threshold": 0.5, "corrections": self.server.store is not None, **CARD}
            self.json([{"name": name, **about, **MODELS[name]} for name in self.server.models])
        elif path == "predict":
            self.predict(query, body)
        elif path == "corrections" and not self.server.store:
            self.json({"error": "There is nothing at this address.", "code": "not_found"}, 404)
        elif (
            path == "corrections" and method == "POST" and json.loads(body)["filename"] in self.server.refused
        ):
            self.json({"error": "The label 'x' is not one of the model's.", "code": "invalid_input"}, 422)
        elif path == "corrections" and method == "POST":
            self.server.corrections.append(json.loads(body))
            self.json({"id": f"c{len(self.server.corrections)}", "stored_at": "2026-03-01T12:00:00Z"}, 201)
        elif path == "corrections":
            rows = [{**one, "stored_at": "2026-03-01T12:00:00Z"} for one in self.server.corrections]
            self.json(rows)
        elif path == "render/dicom-seg":
            self.server.segmentations.append(self.parts(body))
            self.server.asked_segmentations.append(query)
            self.answer(200, b"zip", "application/zip")
        elif path == "measure":
            self.measure(query, self.parts(body))
        elif path == "render/png" and b"II*" in body[:400]:
            image = self.opened(self.parts(body)["file"], query)
            if image is not None:
                self.answer(200, png(image), "image/png")
        elif not address.path.startswith("/api/"):
            self.file(address.path)
        else:
            self.json({"error": "There is nothing here.", "code": "not_found"}, 404)

    def do_GET(self) -> None:  # noqa: N802 - the base class's name
        self.handle_one("GET")

    def do_POST(self) -> None:  # noqa: N802 - the base class's name
        self.handle_one("POST")

    def parts(self, body: bytes) -> dict[str, bytes]:
        """The parts of a multipart form by name."""
        boundary = self.headers["Content-Type"].split("boundary=")[1].encode()
        found = {}
        for part in body.split(b"--" + boundary)[1:-1]:
            head, _, content = part.partition(b"\r\n\r\n")
            found[head.split(b'name="')[1].split(b'"')[0].decode()] = content.removesuffix(b"\r\n")
        return found

    def opened(self, content: bytes, query: dict[str, str]) -> np.ndarray | None:
        """The picture, or one of several; None after an answer that says why not."""
        try:
            picture = Image.open(io.BytesIO(content))
            pictures = getattr(picture, "n_frames", 1)
            if pictures > 1 and "slice" not in query:
                message = f"The file holds {pictures} pictures."
                self.json({"error": message, "code": "slice_needed", "slices": pictures}, 422)
                return None
            if pictures > 1:
                picture.seek(int(query["slice"]))
                query["slices"] = str(pictures)
            return np.array(picture.convert("RGB"))
        except OSError:
            self.json({"error": "The file is not a picture; send another.", "code": "unreadable"}, 415)
            return None

    def predict(self, query: dict[str, str], body: bytes) -> None:
        self.server.predictions.append(query)
        image = self.opened(self.parts(body)["file"], query)
        if image is not None:
            self.json(answer_to(image, query["model"], query))

    def measure(self, query: dict[str, str], parts: dict[str, bytes]) -> None:
        self.server.measured.append((query, parts))
        self.server.may_measure.wait(30)
        area = float((np.array(Image.open(io.BytesIO(parts["mask"]))) > 0).sum())
        one = {"class_name": "lesion", "index": 1, "values": {"area_px": area, "solidity": 0.875}}
        self.json({"measurements": [one] if area else [], "spacing": None, "research_only": "For research"})

    def file(self, path: str) -> None:
        target = PAGE / (path.lstrip("/") or "index.html")
        if target.parent != PAGE or not target.is_file():
            self.json({"error": "There is nothing here.", "code": "not_found"}, 404)
            return
        self.answer(200, target.read_bytes(), KINDS[target.suffix])
