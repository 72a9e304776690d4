#!/usr/bin/env python3
"""The sandbox's server. `./sandbox up` starts it with the right arguments; see README.md."""

import argparse
import logging
import os
import signal
import sys
import threading


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=5555)
    parser.add_argument("--state", required=True, help="folder for files of running instances")
    parser.add_argument("--identifier", required=True, help="label of everything this sandbox makes")
    parser.add_argument("--subrange", type=int, required=True, help="N of 127.77.N.0/24")
    parser.add_argument("--instances", choices=["docker", "sshd", "none"], default="docker")
    parser.add_argument("--ports", default="22,80", help="ports of an instance that its address answers on")
    parser.add_argument("--base-version", default="", help="tag of the base images")
    parser.add_argument("--timing", default="", help="boot=6,stop=4,… in seconds")
    return parser.parse_args()


def prepare_environment():
    """Before moto is imported. Its checks are off where ours are stricter, and it reads no AWS configuration."""
    os.environ.update({"MOTO_EC2_LOAD_DEFAULT_AMIS": "false", "AWS_EC2_METADATA_DISABLED": "true",
                       "DISABLE_GLOBAL_CORS": "true"})
    os.environ.pop("MOTO_AMIS_PATH", None)
    for name in ("AWS_PROFILE", "AWS_CONFIG_FILE", "AWS_ENDPOINT_URL"):
        os.environ.pop(name, None)


def main():
    options = arguments()
    prepare_environment()
    logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    logging.getLogger("botocore").setLevel(logging.WARNING)

    from sandbox_server.world import Settings, World
    timing = dict(part.split("=") for part in options.timing.split(",") if part)
    world = World(Settings(options.port, options.state, options.identifier, options.subrange, options.instances,
                           [int(p) for p in options.ports.split(",")], options.base_version,
                           {name: float(seconds) for name, seconds in timing.items()}))
    # What an earlier server left when it was killed: nobody knows those instances any more.
    world.machines_kind.clear()

    from sandbox_server import corrections, lifecycle
    from sandbox_server.web import Application
    corrections.apply(world)
    world.machines_kind.watch(lambda instance, code: lifecycle.guest_ended(world, instance, code))

    from werkzeug.serving import WSGIRequestHandler, make_server
    # Keep-alive: an SDK's client then makes one connection, not one a call.
    WSGIRequestHandler.protocol_version = "HTTP/1.1"
    WSGIRequestHandler.log_request = lambda *ignored: None
    server = make_server("127.0.0.1", options.port, Application(world), threaded=True)
    server.daemon_threads = True
    signal.signal(signal.SIGTERM, lambda *ignored: threading.Thread(target=server.shutdown).start())
    logging.info("listening on 127.0.0.1:%s, instances: %s", options.port, options.instances)
    server.serve_forever()
    world.reset()


if __name__ == "__main__":
    main()
