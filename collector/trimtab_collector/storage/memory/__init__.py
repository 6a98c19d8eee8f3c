"""The engine in memory: for tests, and for an app that looks at itself."""
