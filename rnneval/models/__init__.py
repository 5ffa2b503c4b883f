"""Language models that carry a state: their protocol, and one package for each library that runs them."""
