"""`python -m koniq`: the one door."""

from koniq.commands.door import main

if __name__ == "__main__":
    main()
