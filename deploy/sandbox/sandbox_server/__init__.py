"""An EC2 imitation: moto answers the API, this package gives instances a machine, time and failures.

Start reading at `world` (what exists), then `actions/` (where it answers differently from moto), `machines`
(what stands behind an instance), `web` (how a request travels) and `control` (the sandbox's own API).
"""
