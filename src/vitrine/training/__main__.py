"""`python -m vitrine.training RECIPE`, which torchrun starts several times: `vitrine train` of one or of many."""

from vitrine.cli import together

if __name__ == "__main__":
    together.main()
