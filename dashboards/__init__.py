"""What finance and operations look at: the SQL that they run, and Grafana's boards."""
