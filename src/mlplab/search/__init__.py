"""Search for the best configuration of a space, by draws that are paused at rungs and continued if they are good."""
