"""What each read of the API computes, above the engine: one question a module."""
