"""Grafana's dashboards as typed code: what `make dashboards` turns into grafana/dashboards/*.json.

It stands outside the package, because nothing that runs on a training box needs it: it is written
with Grafana's own SDK, a dependency of development. It asks nobody and draws nothing; whether the
queries find data is tested against a real Prometheus, and grafana/render shows how they look.
"""
