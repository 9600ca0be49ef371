"""`andon report`: what happened in a period, as one page: its data (`period`), plots, tables, `page`."""
