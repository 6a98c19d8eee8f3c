"""A small lending library: Flask under gunicorn, kept in memory."""
