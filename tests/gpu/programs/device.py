"""Says what torch has for a device: one JSON object, `available` first of all."""

import json
import platform

import torch
import ultralytics

facts = {"available": torch.cuda.is_available(), "torch": torch.__version__}
facts.update(python=platform.python_version(), ultralytics=ultralytics.__version__)
if facts["available"]:
    properties = torch.cuda.get_device_properties(0)
    facts.update(
        device=properties.name,
        total_bytes=properties.total_memory,
        cuda=torch.version.cuda,
    )
print(json.dumps(facts))
