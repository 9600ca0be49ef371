"""`andon explain`: what a signal was judged by, from the database alone, as words and as a picture."""
