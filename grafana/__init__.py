"""What Grafana, Prometheus and Alertmanager read; nothing here is installed with yolowatch."""
