"""The page that lists the endpoints; made from the OpenAPI description, with nothing from other servers."""

from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.responses import HTMLResponse, Response

_TEMPLATE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ api.info.title }} {{ api.info.version }}: endpoints</title>
<link rel="stylesheet" href="docs/style.css">
</head>
<body>
<main>
<h1>{{ api.info.title }} {{ api.info.version }}</h1>
<p>{{ api.info.summary }} <strong>{{ api.info.description }}</strong></p>
<p>The same for programs, with every field: <a href="openapi.json">openapi.json</a>.</p>
{% for path, methods in api.paths.items() %}{% for method, about in methods.items() %}
<section>
<h2><code>{{ method | upper }} {{ path }}</code></h2>
<p>{{ about.summary }}{% if about.requestBody %} (<code>{{ about.requestBody.content | join(", ") }}</code>)
{% endif %}</p>
{% if about.parameters %}
<table>
<thead><tr><th scope="col">parameter</th><th scope="col">default</th><th scope="col">meaning</th></tr></thead>
<tbody>{% for one in about.parameters %}
<tr><td><code>{{ one.name }}</code></td><td>{{ one.schema.default if "default" in one.schema else "" }}</td>
<td>{{ one.description or one.schema.description }}</td></tr>{% endfor %}
</tbody>
</table>
{% endif %}
</section>
{% endfor %}{% endfor %}
</main>
</body>
</html>
"""

_STYLE = """:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; margin: 0; }
main { max-width: 52rem; margin: 0 auto; padding: 1.5rem; }
h2 { font-size: 1.05rem; margin: 2rem 0 0.25rem; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; vertical-align: top; }
th, td { padding: 0.3rem 0.8rem 0.3rem 0; border-bottom: 1px solid #8886; }
"""


def description_router(app: FastAPI) -> APIRouter:
    """Make /docs."""
    router = APIRouter(include_in_schema=False)

    @router.get("/docs")
    async def docs() -> HTMLResponse:
        return HTMLResponse(describe(app.openapi()))

    @router.get("/docs/style.css")
    async def style() -> Response:
        return Response(_STYLE, media_type="text/css")

    return router


def describe(api: dict[str, Any]) -> str:
    """Write the page for an OpenAPI description."""
    from jinja2 import Environment

    return Environment(autoescape=True, trim_blocks=True).from_string(_TEMPLATE).render(api=api)
