"""What is drawn, as matplotlib's figures, from arrays of numpy and plain values."""
