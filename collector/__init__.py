"""The OpenTelemetry collector that Farthing recommends, built from its Go modules."""
