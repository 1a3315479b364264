"""Run by the trainer's Python: how the trainer itself joins each of the argument lists on stdin."""

import json
import sys

from ultralytics.cfg import merge_equals_args

json.dump([merge_equals_args(each) for each in json.load(sys.stdin)], sys.stdout)
