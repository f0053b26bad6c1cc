"""Text on a terminal: prose wrapped between words, tables that fit, and nothing cut that a user types or copies.

Into a pipe or a file, every paragraph and every row of a table is one line, without escape codes.
"""

from pixelwise.terminal.bar import progress_bar
from pixelwise.terminal.listing import Column, Listing
from pixelwise.terminal.prose import Prose, console, show, wrap

__all__ = ["Column", "Listing", "Prose", "console", "progress_bar", "show", "wrap"]
