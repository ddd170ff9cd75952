"""What keeps calls to external services within the services' rules."""
