"""`python -m bedside.leash COMMAND …`: the `bedside` command, ended with the supervisor that started it."""

from bedside.cli import main
from bedside.supervisor import leash

if __name__ == "__main__":
    leash()
    main()
