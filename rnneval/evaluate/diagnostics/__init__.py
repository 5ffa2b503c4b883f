"""Looking inside a model while it runs: states at every step, gates, gradients, Lyapunov exponents."""
