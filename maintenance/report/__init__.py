"""The report: what is known of a database's maintenance, judged, and drawn as one page. It asks nobody."""
