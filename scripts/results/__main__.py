"""`python scripts/results`, see commandline.py."""

from commandline import main

main()
