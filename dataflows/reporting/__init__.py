"""`andon report`: what happened in a period, as one page. Data (`period`), plots (`timeline`, `heat`, `money`), page."""
