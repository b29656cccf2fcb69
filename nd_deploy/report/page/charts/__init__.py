"""The charts of a measurement, drawn to be read on a telephone: narrow, with names above bars."""
