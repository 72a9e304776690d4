"""How a request travels: the sandbox's own API, then faults, then the EC2 imitation or moto's other services."""

import json
import logging
import re
import time
import traceback
import uuid
from socket import SHUT_RDWR
from urllib.parse import parse_qsl
from xml.sax.saxutils import escape

from werkzeug.wrappers import Request, Response

from . import control, session_manager
from .actions import response_class

log = logging.getLogger("sandbox")
_CREDENTIAL = re.compile(r"Credential=([^/]+)/\d+/([^/]*)/([^/]+)/")


class Application:
    """The WSGI application."""

    def __init__(self, world):
        from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app

        self.world = world
        self.ec2 = response_class(world)
        self.others = DomainDispatcherApplication(create_backend_app)
        self.control = control.Control(world)
        self.sessions = session_manager.SessionManager(world)
        world.sessions = self.sessions

    def __call__(self, environ, start_response):
        if environ["PATH_INFO"].startswith("/_sandbox"):
            return self.control(environ, start_response)
        if environ["PATH_INFO"].startswith(session_manager.PATH):
            return self.sessions.data_channel(environ, start_response)
        started = time.time()
        request = Request(environ)
        body = request.get_data(cache=True, parse_form_data=False)
        parameters = dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True)) \
            if "json" not in (request.content_type or "") else {}
        parameters.update(request.args.items())
        key, region, service = _scope(request)
        target = request.headers.get("X-Amz-Target", "")
        action = parameters.get("Action") or target.rsplit(".", 1)[-1] or request.path
        account = self._account(key)
        fault = self.world.faults.take(action, region, account)
        if fault and fault["delay"]:
            time.sleep(float(fault["delay"]))
        if fault and fault["when"] == "before" and fault.get("code"):
            response = error(service, fault["code"], fault.get("message", "A fault of the sandbox."),
                             fault.get("status", 400))
        else:
            response = self._carry_out(service, request, environ, action, account, region)
            if fault and fault["when"] == "after":
                if not fault.get("code"):
                    self.world.calls.add(service, action, region, account, parameters, 0, started, "reply lost")
                    return _hang_up(environ, start_response)
                response = error(service, fault["code"], fault.get("message", "A fault of the sandbox."),
                                 fault.get("status", 500))
        self.world.calls.add(service, action, region, account, parameters, response.status_code, started,
                             fault and fault.get("code"))
        return response(environ, start_response)

    def _account(self, key):
        from moto.iam.models import get_account_id_from
        with self.world.lock:
            return get_account_id_from(key)

    def _carry_out(self, service, request, environ, action, account, region):
        try:
            if service == "ssm" and action in session_manager.ACTIONS:
                body = json.loads(request.get_data() or b"{}")
                status, answer = self.sessions.answer(action, body, account, region, request.host)
                return Response(json.dumps(answer), status, {"Content-Type": "application/x-amz-json-1.1",
                                                             "x-amzn-requestid": str(uuid.uuid4())})
            if service == "ec2":
                with self.world.lock:
                    status, headers, body = self.ec2.dispatch(request, request.url, request.headers)
                return Response(body, status, {"Content-Type": "text/xml;charset=UTF-8",
                                               "x-amzn-requestid": str(uuid.uuid4())})
            # The body was read above; moto's application reads it again.
            from io import BytesIO
            environ["wsgi.input"] = BytesIO(request.get_data())
            with self.world.lock:
                return Response.from_app(self.others, environ, buffered=True)
        except NotImplementedError as missing:
            return error(service, "InvalidAction", f"The sandbox does not imitate this: {missing}", 400)
        except Exception as unexpected:  # noqa: BLE001 - a bug here must look like a failing service, and be seen
            log.error("%s", traceback.format_exc())
            return error(service, "InternalError", f"{type(unexpected).__name__}: {unexpected}", 500)


def _scope(request):
    """(access key, region, service) that a request is signed for. Signatures are not checked."""
    found = _CREDENTIAL.search(request.headers.get("Authorization", ""))
    if found:
        return found.groups()
    return "", "us-east-1", "sts" if "sts" in request.host else "ec2"


def error(service, code, message, status):
    identifier = uuid.uuid4()
    if service == "ec2":
        text = (f'<?xml version="1.0" encoding="UTF-8"?>\n<Response><Errors><Error><Code>{escape(code)}</Code>'
                f"<Message>{escape(message)}</Message></Error></Errors><RequestID>{identifier}</RequestID></Response>")
    elif service in ("sts", "iam"):
        text = (f"<ErrorResponse><Error><Type>Sender</Type><Code>{escape(code)}</Code>"
                f"<Message>{escape(message)}</Message></Error><RequestId>{identifier}</RequestId></ErrorResponse>")
    else:
        return Response(json.dumps({"__type": code, "message": message}), status,
                        {"Content-Type": "application/x-amz-json-1.1", "x-amzn-ErrorType": code})
    return Response(text, status, {"Content-Type": "text/xml;charset=UTF-8"})


def _hang_up(environ, start_response):
    """The call was carried out and nobody hears of it."""
    connection = environ.get("werkzeug.socket")
    if connection is not None:
        connection.shutdown(SHUT_RDWR)
    start_response("500 Lost", [])
    return []
