"""Configuration: text in, frozen values out, or one sentence that says what is wrong; no files.

`policy` reads the policy file of `yolowatch run`, `service` the configuration of the service with
its drop-ins, `web` the web configuration file, `headers` the file of those that a push is sent
with. A check of each is to call it and to print what it raises.
"""

from yolowatch.config.otlp import headers
from yolowatch.config.policy_file import EMERGENCY, KEYS, policy
from yolowatch.config.service_file import KEYS as SERVICE_KEYS
from yolowatch.config.service_file import service
from yolowatch.config.thresholds import KEYS as DETECTION_KEYS
from yolowatch.config.web_file import web

__all__ = [
    "DETECTION_KEYS",
    "EMERGENCY",
    "KEYS",
    "SERVICE_KEYS",
    "headers",
    "policy",
    "service",
    "web",
]
