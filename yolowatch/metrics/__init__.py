"""What Prometheus is told: one table of metrics, a frozen snapshot and its rendering.

Nothing here listens or opens anything: an edge serves what `render` returns.
"""
