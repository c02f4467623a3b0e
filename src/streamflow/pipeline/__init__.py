"""The steps of the story, one module each; the command line shows what they return."""
