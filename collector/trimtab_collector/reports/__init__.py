"""Looking back: uptime, key figures, daily and weekly reports as JSON and as a page."""
