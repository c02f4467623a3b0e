"""What a month decides: whether to train, whether to promote. Pure."""
