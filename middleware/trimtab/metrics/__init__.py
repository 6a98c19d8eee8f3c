"""An app's own metrics, and the measures that everything is added up in."""
