"""The local page: who may ask it, what it answers, and how it is served.

Only this machine reaches it (127.0.0.1), and only who knows the address, which holds a random token. Other pages in the
same browser do not: a request must name this very host (so a name that was made to point here does not help), state
changes are JSON by POST and come from the page itself, and nothing but the images of the list is ever sent.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from functools import partial
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from radgal.labeling.answers import Meanwhile
from radgal.labeling.pictures import STRETCHES, as_png, read_scaled
from radgal.labeling.session import Session
from utils import UserError

TEMPLATES = Path(__file__).resolve().parent / "templates"
REPORT_TEMPLATES = TEMPLATES.parents[1] / "report" / "templates"  # its module would load torch
HOST = "127.0.0.1"
MISSING = "label needs a small web framework: pip install bottle (or: pip install -r requirements-label.txt)"
MAX_BODY = 4096
LONGEST_NAME = 64  # of a window
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; img-src 'self' data:; style-src 'self'; script-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",  # the address is the key
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}


def load_bottle():
    """Returns the web framework.

    Raises:
        UserError: if it is not installed.
    """
    try:
        import bottle
    except ImportError:
        raise UserError(MISSING) from None
    return bottle


class _Server(ThreadingMixIn, WSGIServer):
    """One thread a request, so that a window that reads slowly does not hold up another."""

    daemon_threads = True


class _Quiet(WSGIRequestHandler):
    def log_message(self, *words: Any) -> None:
        """Says nothing: the log would hold the token."""


def make(session: Session, port: int = 0) -> tuple[WSGIServer, str]:
    """Returns a server, not yet running, and the address of its page.

    Args:
        session: what is labeled.
        port: to listen on; 0: any that is free.

    Raises:
        UserError: if the port is taken, or the framework is not installed.
    """
    token = secrets.token_urlsafe(24)
    load_bottle()
    try:
        server = make_server(HOST, port, None, server_class=_Server, handler_class=_Quiet)
    except OSError as error:
        raise UserError(f"--port {port} cannot be used: {error.strerror}; leave it out for one that is free") from None
    host = f"{HOST}:{server.server_port}"
    server.set_app(make_app(session, token, host))
    return server, f"http://{host}/{token}/"


def make_app(session: Session, token: str, host: str):
    """Returns the web application (WSGI) of a session."""
    bottle = load_bottle()
    app = bottle.Bottle(catchall=True)
    app.default_error_handler = partial(_plain_error, bottle)

    @app.hook("before_request")
    def check() -> None:
        request = bottle.request
        given = request.path.split("/")[1] if request.path.count("/") > 1 else ""
        if request.get_header("Host", "") != host or not secrets.compare_digest(given.encode(), token.encode()):
            bottle.abort(404, "there is nothing here")
        if request.method != "GET":
            is_own = request.get_header("Origin", "") == f"http://{host}"
            if not is_own or request.content_type.split(";")[0] != "application/json":
                bottle.abort(403, "not from this page")

    def send(content: bytes | str, kind: str):
        return bottle.HTTPResponse(content, 200, {**HEADERS, "Content-Type": kind})

    @app.get("/<_>/")
    def page(_):
        return send(_template("label.html"), "text/html; charset=utf-8")

    @app.get("/<_>/label.css")
    def style(_):
        report = (REPORT_TEMPLATES / "report.css").read_text(encoding="utf-8")
        return send(report + _template("label.css"), "text/css; charset=utf-8")

    @app.get("/<_>/label.js")
    def script(_):
        return send(_template("label.js"), "text/javascript; charset=utf-8")

    @app.get("/<_>/image/<row:int>/<stretch>.png")
    def image(_, row, stretch):
        if not 0 <= row < len(session.paths) or stretch not in STRETCHES:
            bottle.abort(404, "there is no such image")
        try:
            return send(as_png(read_scaled(session.paths[row]), stretch), "image/png")
        except UserError as error:
            bottle.abort(422, str(error))

    @app.post("/<_>/<action:re:start|next|answer|undo|look>")
    def act(_, action):
        status, content = _act(session, action, bottle.request.body.read(MAX_BODY + 1))
        headers = {**HEADERS, "Content-Type": "application/json"}
        return bottle.HTTPResponse(json.dumps(content), status, headers)

    return app


def _plain_error(bottle, error) -> str:
    """Returns an error of the web kind in plain text, so that nothing that was asked for comes back as HTML."""
    bottle.response.content_type = "text/plain; charset=utf-8"
    for name, value in HEADERS.items():
        bottle.response.set_header(name, value)
    return str(error.body) if error.status_code < 500 else "the program failed here; see its window"


def _template(name: str) -> str:
    return (TEMPLATES / name).read_text(encoding="utf-8")


def _act(session: Session, action: str, body: bytes) -> tuple[int, dict[str, Any]]:
    """Returns (status, content) of the answer to what a window asks."""
    try:
        said = json.loads(body) if len(body) <= MAX_BODY else None
        window, row, seen, label, step = (said.get(key) for key in ("window", "row", "seen", "label", "step"))
        known = row is None or (isinstance(row, int) and 0 <= row < len(session.paths))
        if not isinstance(window, str) or len(window) > LONGEST_NAME or not known:
            raise ValueError
        actions: dict[str, Callable[[], Any]] = {
            "start": lambda: session.next(window),
            "next": lambda: session.next(window),
            "answer": lambda: session.answer(window, row, label, seen),
            "undo": lambda: session.undo(window),
            "look": lambda: session.look(row, 1 if step > 0 else -1),
        }
        if action == "answer" and not (isinstance(row, int) and isinstance(label, str) and isinstance(seen, int)):
            raise ValueError
    except (ValueError, AttributeError, TypeError, RecursionError):
        return 400, {"message": "this is nothing that the page would ask"}
    more = {"classes": list(session.classes), "labeler": session.labeler} if action == "start" else {}
    try:
        return 200, {"view": actions[action](), "progress": session.progress(), **more}
    except Meanwhile as error:
        view = session.view(session.keys.index(str(error)))
        return 409, {"view": view, "progress": session.progress(), "message": "answered meanwhile in another window"}
    except UserError as error:
        return 422, {"message": str(error)}
