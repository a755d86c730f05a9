"""The parts of the lesson builder: sources, staleness, execution, what may be published, the README."""
