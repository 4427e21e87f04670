"""The live view: a page that follows a running flow. Its server comes with the extra `live`."""
