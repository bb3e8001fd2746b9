"""Grafana boards as code, for Grafana's ClickHouse data source.

``python -m dashboards.grafana`` writes one JSON file for each of ``boards.BOARDS``. The files are what
Grafana is provisioned with; the modules are what to edit.
"""
