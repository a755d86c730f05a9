"""A table that prints all its columns, whatever the width of the screen."""

import shutil

from kerasllm.common.extras import needed

pd = needed("pandas", "data")


class WholeTable(pd.DataFrame):
    """A frame whose printed form leaves no column out; what is made from it is a plain frame.

    pandas puts three dots for the columns in the middle where the screen is narrow. Here they go on below.

    Example:
        >>> table = WholeTable({"name": ["digits"], "licence": ["CC BY 4.0"], "source": ["scikit-learn" * 9]})
        >>> "licence" in repr(table), "..." in repr(table)
        (True, False)
    """

    def __repr__(self) -> str:
        return self.to_string(line_width=shutil.get_terminal_size((160, 24)).columns)
