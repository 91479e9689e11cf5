"""Our own plotter: the panels of a dashboard as one SVG, with what a Prometheus answers to their queries."""
