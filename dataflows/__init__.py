"""The only room that knows the engine: sources, flows, settings, the command line."""
