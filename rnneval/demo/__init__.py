"""Demo: three models that train on a text that every Python has, and all commands run on them."""
