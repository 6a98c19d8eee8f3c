"""The whole chain on one machine: collector, agent, three services, traffic, a live table."""
