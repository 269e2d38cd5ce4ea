"""Profile devices, predict and measure latencies of gated networks."""
