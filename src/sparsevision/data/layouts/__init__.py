"""Layouts of data sets on disk, one file each: they parse, and know no task."""
