"""`llmi serve`: the World of a configuration, for other processes and machines."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Callable, Sequence

import uvicorn

from llmi_env.config import load_config
from llmi_env.errors import ConfigError
from llmi_env.world.http import TOKEN
from llmi_env.world.service import create_app


def serve(config: str, overrides: Sequence[str], host: str, port: int, say: Callable[[str], None]) -> None:
    """Serve the tools and judges of an environment's configuration until Ctrl-C or SIGTERM.

    Args:
        config: a preset of `envs_configs`, or the path of a YAML file; what it says under `services` is served.
        overrides: `"services.judges=[embedded]"` and the like.
        host: address to listen on.
        port: of TCP.
        say: is told what is served, and where.

    Raises:
        ConfigError: a configuration that cannot be read, or a port that cannot be listened on.
    """
    services = load_config(config, overrides).services
    token = os.environ.get(TOKEN) or None
    judges = [use for use, _ in services.judge_uses()]
    say(f"tools: {', '.join(services.tools) or 'none'}; judges: {', '.join(judges) or 'none'}")
    say(
        f"serving on http://{host}:{port}{'' if token is None else f', for clients with the same {TOKEN}'}; Ctrl-C ends it"
    )
    if token is None and not _loopback(host):
        say(
            f"warning: whoever reaches {host}:{port} can run code in the sandbox of this World; set {TOKEN} here and on the clients"
        )
    server = uvicorn.Server(
        uvicorn.Config(
            create_app(services, token=token), host=host, port=port, log_level="warning", timeout_graceful_shutdown=5
        )
    )
    try:
        server.run()
    except SystemExit as error:  # uvicorn's way to say that it could not start
        raise ConfigError(f"nothing can be served on {host}:{port}: is the port taken?") from error


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
