"""What several tests need: flows in which much happens, what they truly counted, and a real Prometheus."""
